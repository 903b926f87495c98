pub mod check;
pub mod judge;
pub mod script;
