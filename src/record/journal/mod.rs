//! The journal of a recording: what was heard, on the disk before anything else is done with it.

mod frame;
