//! What recordings are called, and what becomes of a file that is moved, removed or replaced while it grows.

use super::*;
use crate::record::receipt;

#[test]
fn recordings_of_one_name_that_end_together_have_a_receipt_each() {
    let mut studio = Studio::new();
    for round in 0..25 {
        let folder = format!("round-{round}");
        let begun = ["wav", "flac"].map(|format| {
            let id = format!("{format}-{round}");
            let url = format!("file://{folder}/n");
            let begun = studio.recorder.begin(request(&id, &url, format)).unwrap();
            studio.push(begun.slot, 0, 0..5);
            begun
        });
        for begun in &begun {
            studio
                .recorder
                .finish(begun.slot, Some(Tick(4)))
                .expect("it runs");
        }
        for begun in &begun {
            let id = &begun.status.recording_id;
            let receipt = studio.settled(id).receipt.expect("it is available");
            let beside = ["n.json".to_owned(), format!("n~{id}.json")];
            let found = beside
                .iter()
                .filter_map(|name| receipt::read(&studio.dir.join(&folder).join(name)))
                .filter(|found| *found == receipt)
                .count();
            assert_eq!(found, 1, "round {round}: the receipt of {id}");
        }
    }
}
