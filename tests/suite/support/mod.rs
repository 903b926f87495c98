pub mod http;
pub mod voice;
pub mod world;
