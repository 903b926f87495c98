//! A machine that gives no more memory or threads: who is refused, and who is not.

use super::*;
use crate::control::admission::{Bound, Reading};
use crate::control::blocking;
use crate::control::requests::RecordingOptions;

const MIB: u64 = 1024 * 1024;

impl Unheard {
    /// From here on the limit of data leaves so much beside the reserve.
    fn memory_beside_the_reserve(&self, bytes: u64) {
        let inner = &self.service.inner;
        let reserve = inner.config.admission.memory_reserve_bytes;
        let mut reading = Reading::default();
        reading.left[Bound::Data as usize] = Some(reserve + bytes);
        inner.memory.pretend(reading);
    }

    fn refused_for(&self, reason: &str) -> u64 {
        let inner = &self.service.inner;
        let figures = inner.admission_figures(&inner.state());
        let mut counts = figures.refused.into_iter();
        counts.find(|(one, _)| *one == reason).unwrap().1
    }

    async fn recorded(&self) -> Result<Started, Refusal> {
        let fields = Fields::parse(b"{}").unwrap();
        let options = RecordingOptions::parse(fields, &Rules::default()).unwrap();
        self.service.start_recording(&room("r"), options, &tester()).await
    }

    async fn signalled_again(&self, call: &str) -> Result<(), Refusal> {
        let sdp = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 5004 RTP/AVP 8\r\n";
        let change = ChangeLeg::parse(Fields::parse(json!({ "sdp": sdp }).to_string().as_bytes())?)?;
        let call = CallId::parse(call)?;
        self.service.change_leg(&call, change, None, tester()).await?;
        Ok(())
    }
}

/// Fault row S3.
#[tokio::test]
async fn where_memory_is_for_those_who_are_there_nobody_else_comes_and_nothing_else_is_recorded() {
    let unheard = Unheard::start("memory");
    unheard.leg("r", "a").await.unwrap();
    unheard.memory_beside_the_reserve(0);
    let refusal = unheard.leg("r", "b").await.unwrap_err();
    assert_eq!((refusal.code, refusal.retry_after_s), (50300, Some(5)));
    assert!(refusal.message.contains("memory"), "{refusal:?}");
    let refusal = unheard.recorded().await.map(drop).unwrap_err();
    assert_eq!((refusal.code, unheard.refused_for("memory")), (50300, 2));
    let capacity = unheard.service.capacity();
    assert!(
        capacity
            .left
            .iter()
            .all(|left| (left.legs, left.binds) == (0, "memory"))
    );
    assert_eq!(
        (capacity.memory.free_mib, capacity.memory.bound),
        (Some(0.0), Some("data"))
    );
    // Who is there is signalled again, as after a hold.
    unheard.signalled_again("a").await.unwrap();
    assert_eq!(unheard.refused_for("memory"), 2);

    unheard.memory_beside_the_reserve(MIB);
    unheard.leg("r", "b").await.unwrap();
    unheard.recorded().await.unwrap();
    assert_eq!(unheard.refused_for("memory"), 2);
    assert_eq!(unheard.service.capacity().memory.bound, Some("data"));
}

#[tokio::test]
async fn who_is_there_is_refused_another_codec_only_where_the_daemon_would_end_by_it() {
    let unheard = Unheard::start("memory-again");
    unheard.leg("r", "a").await.unwrap();
    let mut reading = Reading::default();
    reading.left[Bound::Machine as usize] = Some(MIB);
    unheard.service.inner.memory.pretend(reading);
    assert_eq!(unheard.signalled_again("a").await.unwrap_err().code, 50300);
    assert_eq!(unheard.refused_for("memory"), 1);
    unheard.memory_beside_the_reserve(MIB);
    unheard.signalled_again("a").await.unwrap();
}

/// Fault row S3.
#[test]
fn where_no_thread_can_be_had_a_recording_is_refused_and_begins_once_there_is_one() {
    let unheard = blocking::without_threads(async {
        let unheard = Unheard::start("threads");
        unheard.leg("r", "a").await.unwrap();
        let refusal = unheard.recorded().await.map(drop).unwrap_err();
        assert_eq!((refusal.code, refusal.retry_after_s), (50300, Some(5)));
        assert!(refusal.message.contains("thread"), "{refusal:?}");
        assert_eq!(unheard.refused_for("threads"), 1);
        // Nor does what is looked at each second end anything.
        unheard.service.inner.have_memory_looked_at();
        unheard.leg("r", "b").await.unwrap();
        unheard
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let recordings = async || {
        let page = Page { page: 1, size: 1 };
        unheard.service.recordings(page).await.unwrap().total
    };
    runtime.block_on(async {
        assert_eq!(recordings().await, 0);
        unheard.recorded().await.unwrap();
        unheard.service.inner.have_memory_looked_at();
        assert_eq!(recordings().await, 1);
    });
}
