//! The journal of a recording: what was heard, on the disk before anything else is done with it.

pub(in crate::record) mod frame;
