"""Proof of sound: real speech through a running daemon, beside independent codecs offline. See README.md."""
