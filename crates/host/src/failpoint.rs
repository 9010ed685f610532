//! Places at which a test may end the process, as a power cut would.
//!
//! One stands between every two effects of a service: `failpoint!("coordinator.results.told")`. A name says the program,
//! the module and what has just become true, and stands at one place only. In what ships a failpoint is nothing; only
//! the feature `failpoints` makes it look at the environment.

/// The name of the failpoint at which this process dies, `NAME` or `NAME*3` for the third time it is reached.
#[cfg(feature = "failpoints")]
pub const VARIABLE: &str = "SEALSTREAM_FAILPOINT";

/// A failpoint was reached. Called by [`crate::failpoint!`] alone.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub const fn reached(_name: &str) {}

/// A failpoint was reached: the process kills itself if this is the one, and this the time.
#[cfg(feature = "failpoints")]
pub fn reached(name: &str) {
    armed::reached(name);
}

/// Marks a place between two effects at which the process may be killed.
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {
        $crate::failpoint::reached($name)
    };
}

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    };

    use rustix::process::{Signal, getpid, kill_process};

    #[derive(Debug, PartialEq, Eq)]
    struct Armed {
        name: String,
        time: u32,
    }

    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    static REACHED: AtomicU32 = AtomicU32::new(0);

    pub(super) fn reached(name: &str) {
        let armed = ARMED.get_or_init(|| std::env::var(super::VARIABLE).ok().map(|text| parse(&text)));
        let Some(armed) = armed.as_ref().filter(|armed| armed.name == name) else { return };
        if REACHED.fetch_add(1, Ordering::SeqCst).saturating_add(1) == armed.time {
            let _no_way_back = kill_process(getpid(), Signal::KILL);
        }
    }

    fn parse(text: &str) -> Armed {
        match text.rsplit_once('*').and_then(|(name, time)| Some((name, time.parse().ok()?))) {
            Some((name, time)) => Armed { name: name.to_owned(), time },
            None => Armed { name: text.to_owned(), time: 1 },
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_name_may_carry_which_time() {
            assert_eq!(parse("agent.journal.kept"), Armed { name: "agent.journal.kept".to_owned(), time: 1 });
            assert_eq!(parse("agent.journal.kept*3"), Armed { name: "agent.journal.kept".to_owned(), time: 3 });
        }
    }
}
