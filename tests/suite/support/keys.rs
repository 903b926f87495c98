//! Keys that nobody has to guess.

use mixminus::srtp::{MasterKey, Suite, Terms};

/// Both ways, the same from one seed.
pub fn keys(suite: Suite, seed: u64) -> Terms {
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut key = || {
        let bytes: Vec<u8> = (0..suite.master_bytes()).map(|_| chance.u8(..)).collect();
        MasterKey::new(suite, &bytes).expect("as long as the suite wants it")
    };
    Terms {
        ours: key(),
        theirs: key(),
        their_mki_bytes: 0,
    }
}
