//! Encrypted legs: heard and hearing like any other, and deaf to whatever is not authentic.

use std::net::SocketAddr;

use mixminus::codec::Codec;
use mixminus::engine::Command;
use mixminus::leg::{Dropped, LegMedia, LegSettings, MediaTerms};
use mixminus::room::RoomSettings;
use mixminus::srtp::{Suite, Terms};

use crate::support::keys::keys;
use crate::support::voice::{Voice, power_at};
use crate::support::world::{PAYLOAD_TYPE, World, encoding, terms};

const TONE: f32 = 500.0;

fn encrypted(keys: Terms) -> impl FnOnce(MediaTerms) -> MediaTerms {
    move |terms| MediaTerms {
        srtp: Some(keys),
        ..terms
    }
}

/// A, encrypted, speaks; B, encrypted as well, and C, plain, listen.
fn speaker_and_listeners(suite: Suite) -> World {
    let mut world = World::seeded(11);
    world.open(0, 0, RoomSettings::default());
    let pcmu = encoding(Codec::Pcmu);
    let voice = Voice::steady(TONE, -20.0);
    let settings = LegSettings::default;
    world.join_on(0, 0, pcmu, voice, settings(), encrypted(keys(suite, 1)));
    world.join_on(0, 0, pcmu, Voice::silent(), settings(), encrypted(keys(suite, 2)));
    world.join(0, 0, pcmu, Voice::silent());
    world.run(50);
    world
}

fn hears_the_speaker(world: &mut World, party: usize) -> bool {
    world.parties[party].heard.clear();
    world.run(10);
    let heard = &world.parties[party].heard;
    heard.len() >= 1_440 && power_at(TONE, heard, 8_000) > 0.3 * Voice::steady(TONE, -20.0).power()
}

fn renegotiate(world: &mut World, party: usize, terms: MediaTerms) {
    let leg = world.parties[party].leg;
    let media = LegMedia::new(terms).expect("the encoding is one of ours");
    world.apply(0, Command::Renegotiate { leg, media });
}

#[test]
fn encrypted_and_plain_parties_hear_each_other_under_every_suite() {
    for suite in Suite::ALL {
        let mut world = speaker_and_listeners(suite);
        assert!(hears_the_speaker(&mut world, 1), "{}", suite.name());
        assert!(hears_the_speaker(&mut world, 2), "{}", suite.name());
    }
}

#[test]
fn what_is_not_authentic_is_counted_and_never_ends_the_call() {
    let mut world = speaker_and_listeners(Suite::AesCm128HmacSha1_80);
    let (leg, address) = (world.parties[0].leg, world.parties[0].address);
    let now = world.tick.due(0);
    let mut chance = fastrand::Rng::with_seed(7);
    for _ in 0..10_000 {
        let mut datagram: Vec<u8> = (0..182).map(|_| chance.u8(..)).collect();
        datagram[0] = 0x80;
        datagram[1] = PAYLOAD_TYPE;
        world.engines[0].receive(now, leg, address, &mut datagram);
    }
    let mut plain_rtcp = [0x80, 201, 0, 1, 1, 2, 3, 4];
    world.engines[0].receive_rtcp(now, leg, address, &mut plain_rtcp);
    world.engines[0].receive(now, leg, address, &mut [0x80, PAYLOAD_TYPE, 0, 1]);
    assert_eq!(world.dropped(Dropped::BadTag), 10_000);
    assert_eq!(world.dropped(Dropped::BadSrtp), 2);
    assert!(hears_the_speaker(&mut world, 2));
}

#[test]
fn an_authentic_packet_from_another_address_moves_the_leg_at_once() {
    let mut world = speaker_and_listeners(Suite::AeadAes128Gcm);
    world.move_party(0, SocketAddr::from(([127, 0, 0, 2], 31_000)));
    // Our packets go to the new address from the first tick after one of its own has come: the world checks it.
    world.begin_tick();
    let silence = [0xff; 160];
    world.send_packet(0, PAYLOAD_TYPE, false, 0, &silence);
    for phase in 0..4 {
        world.run_phase(phase);
    }
    world.end_tick();
    assert!(hears_the_speaker(&mut world, 2));
}

#[test]
fn new_keys_take_over_within_a_call_whether_or_not_the_party_resets_its_counter() {
    for resets in [false, true] {
        let mut world = speaker_and_listeners(Suite::AesCm128HmacSha1_80);
        for (seed, suite) in [
            (21, Suite::AesCm128HmacSha1_80),
            (22, Suite::AeadAes256Gcm),
            (23, Suite::AesCm128HmacSha1_32),
        ] {
            let keys = keys(suite, seed);
            let address = world.parties[0].address;
            let terms = encrypted(keys.clone())(terms(address, encoding(Codec::Pcmu)));
            renegotiate(&mut world, 0, terms);
            world.rekey(0, &keys, resets);
            assert!(hears_the_speaker(&mut world, 2), "{suite:?}, resets: {resets}");
            assert!(hears_the_speaker(&mut world, 1), "{suite:?}, resets: {resets}");
        }
    }
}
