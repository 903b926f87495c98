pub mod http;
pub mod phone;
pub mod voice;
pub mod world;
