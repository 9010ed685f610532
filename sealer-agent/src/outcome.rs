//! What the end of a child means: facts, or a failure with the one who must act.

use host::job::JobEnd;
use prover::job::{JobResult, Output};
use streams::message::{Facts, Failure, FailureClass};

/// Lines of the child's log that go into a failure's message.
const TAIL_LINES: usize = 4;

/// A child's end, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Judged {
    /// It did its work.
    Done(Output),
    /// It did not.
    Failed(Failure),
    /// We stopped it: that is nobody's failure.
    Stopped,
    /// We stopped, and it works on.
    Left,
}

/// A result file as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ResultFile {
    /// Whole.
    Read(JobResult),
    /// Not there: the child died before it could write one.
    Absent,
    /// There, and not readable.
    Unreadable(String),
}

/// How a prover ended that was not our child: its result says that it came to its end, and nothing else can.
pub(crate) const fn end_of_orphan(end: JobEnd, result: &ResultFile) -> JobEnd {
    match (end, result) {
        (JobEnd::Lost, ResultFile::Read(_) | ResultFile::Unreadable(_)) => JobEnd::Exited { code: 0 },
        (end, _) => end,
    }
}

/// Judges by how the child ended, what it wrote and what it said last.
pub(crate) fn judge(end: JobEnd, result: ResultFile, log: &str) -> Judged {
    let fail = |class, code: &str, message: String| {
        Judged::Failed(Failure { class, code: code.to_owned(), message: format!("{message}{}", tail(log)) })
    };
    match (end, result) {
        (JobEnd::Cancelled, _) => Judged::Stopped,
        (JobEnd::Left, _) => Judged::Left,
        (JobEnd::Exited { .. }, ResultFile::Read(JobResult::Done { output, .. })) => Judged::Done(output),
        (_, ResultFile::Read(JobResult::Refused { class, code, message })) => {
            Judged::Failed(Failure { class, code, message })
        }
        (JobEnd::Exited { code }, ResultFile::Absent) => {
            fail(FailureClass::RetryHere, "no-result", format!("the prover exited with code {code} and no result"))
        }
        (JobEnd::Exited { code }, ResultFile::Unreadable(why)) => {
            // An older or newer prover beside this agent: another machine may have the right one.
            fail(
                FailureClass::RetryElsewhere,
                "unreadable-result",
                format!("the prover exited with code {code} and a result that cannot be read: {why}"),
            )
        }
        (JobEnd::Crashed { signal }, _) => {
            fail(FailureClass::RetryHere, "crashed", format!("signal {signal} ended the prover"))
        }
        (JobEnd::OutOfMemory, _) => fail(
            FailureClass::RetryElsewhere,
            "out-of-memory",
            "the prover was killed for want of memory: of the host, of its cgroup, or of what its stage may hold"
                .to_owned(),
        ),
        (JobEnd::TimedOut, _) => {
            fail(FailureClass::RetryElsewhere, "timed-out", "the prover took longer than its time limit".to_owned())
        }
        (JobEnd::Silent, _) => fail(
            FailureClass::RetryHere,
            "silent",
            "the prover neither told of progress nor computed for too long".to_owned(),
        ),
        (JobEnd::Lost, _) => fail(FailureClass::RetryHere, "lost", "the prover's exit status was lost".to_owned()),
    }
}

/// The facts of a sealing stage, where the prover's output is all of them.
pub(crate) fn facts(output: Output) -> Result<Facts, Failure> {
    match output {
        Output::AddPiece { pieces } => Ok(Facts::AddPiece { pieces }),
        Output::TreeD { comm_d } => Ok(Facts::TreeD { comm_d }),
        Output::Pc1 {} => Ok(Facts::Pc1 {}),
        Output::Pc2 { comm_d, comm_r } => Ok(Facts::Pc2 { comm_d, comm_r }),
        Output::C2 { proof } => Ok(Facts::C2 { proof }),
        Output::Finalize {} => Ok(Facts::Finalize {}),
        Output::C1 {} | Output::VanillaPost { .. } | Output::WindowPost { .. } | Output::Unseal {} => {
            Err(wrong_output())
        }
    }
}

/// The prover answered another question than it was asked.
pub(crate) fn wrong_output() -> Failure {
    Failure {
        class: FailureClass::RetryElsewhere,
        code: "wrong-output".to_owned(),
        message: "the prover's result belongs to another stage: is it of the same version as this agent?".to_owned(),
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().filter(|l| !l.trim().is_empty()).collect();
    let last = lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default();
    if last.is_empty() { String::new() } else { format!("; it said last: {}", last.join(" | ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done() -> ResultFile {
        ResultFile::Read(JobResult::Done { output: Output::Pc1 {}, work_ms: 5 })
    }

    fn failure(judged: Judged) -> Failure {
        match judged {
            Judged::Failed(failure) => failure,
            other => panic!("not a failure: {other:?}"),
        }
    }

    #[test]
    fn a_result_counts_only_from_a_child_that_came_to_its_end() {
        assert_eq!(judge(JobEnd::Exited { code: 0 }, done(), ""), Judged::Done(Output::Pc1 {}));
        assert_eq!(failure(judge(JobEnd::Crashed { signal: 11 }, done(), "")).code, "crashed");
        assert_eq!(judge(JobEnd::Cancelled, done(), ""), Judged::Stopped);
    }

    #[test]
    fn an_orphan_counts_by_its_result() {
        assert_eq!(end_of_orphan(JobEnd::Lost, &done()), JobEnd::Exited { code: 0 });
        assert_eq!(end_of_orphan(JobEnd::Lost, &ResultFile::Absent), JobEnd::Lost);
        assert_eq!(end_of_orphan(JobEnd::TimedOut, &done()), JobEnd::TimedOut);
        assert_eq!(end_of_orphan(JobEnd::Cancelled, &done()), JobEnd::Cancelled);
    }

    #[test]
    fn a_refusal_keeps_the_words_of_the_prover() {
        let refused = JobResult::Refused {
            class: FailureClass::Abort,
            code: "bad-input".to_owned(),
            message: "piece 0 is larger than the sector".to_owned(),
        };
        let failure = failure(judge(JobEnd::Exited { code: 1 }, ResultFile::Read(refused), "noise"));
        assert_eq!((failure.class, failure.code.as_str()), (FailureClass::Abort, "bad-input"));
        assert_eq!(failure.message, "piece 0 is larger than the sector");
    }

    #[test]
    fn every_other_end_has_its_own_name_and_actor() {
        use FailureClass::{RetryElsewhere, RetryHere};
        let cases = [
            (JobEnd::Exited { code: 101 }, ResultFile::Absent, "no-result", RetryHere),
            (JobEnd::Exited { code: 0 }, ResultFile::Unreadable("v 2".to_owned()), "unreadable-result", RetryElsewhere),
            (JobEnd::Crashed { signal: 6 }, ResultFile::Absent, "crashed", RetryHere),
            (JobEnd::OutOfMemory, ResultFile::Absent, "out-of-memory", RetryElsewhere),
            (JobEnd::TimedOut, ResultFile::Absent, "timed-out", RetryElsewhere),
            (JobEnd::Silent, ResultFile::Absent, "silent", RetryHere),
            (JobEnd::Lost, ResultFile::Absent, "lost", RetryHere),
        ];
        for (end, result, code, class) in cases {
            let failure = failure(judge(end, result, "one\ntwo\n"));
            assert_eq!((failure.code.as_str(), failure.class), (code, class), "{end:?}");
            assert!(failure.message.ends_with("it said last: one | two"), "{}", failure.message);
        }
    }

    #[test]
    fn an_output_of_another_stage_is_no_fact() {
        assert_eq!(facts(Output::Unseal {}), Err(wrong_output()));
        assert_eq!(facts(Output::Pc1 {}), Ok(Facts::Pc1 {}));
    }
}
