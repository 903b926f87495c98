pub mod voice;
pub mod world;
