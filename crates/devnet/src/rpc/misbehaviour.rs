//! How a node lies, stalls and breaks: rules that a test sets, each for so many calls.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Rules at once.
const RULES_MAX: usize = 1_000;
/// The longest silence.
const HANG_SECS_MAX: u64 = 600;

/// Calls that go wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// A method's full name, or `*` for every method of a real node.
    pub method: String,
    /// For so many calls.
    pub times: u64,
    /// What happens to them.
    #[serde(flatten)]
    pub does: Does,
}

/// What happens to a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "does", rename_all = "kebab-case")]
pub enum Does {
    /// It waits before it is executed and answered.
    Hang {
        /// So long.
        secs: u64,
    },
    /// It is answered with an HTTP status and not executed.
    Http {
        /// The status.
        status: u16,
    },
    /// It is not executed, and the connection breaks.
    Drop,
    /// It is executed, and the connection breaks.
    LostAnswer,
    /// It is answered by a node that is behind.
    Stale {
        /// So many tipsets.
        back: usize,
    },
    /// The network has another name.
    Network {
        /// The name.
        name: String,
    },
    /// A message is said to be nowhere.
    NoReceipt,
    /// A message that is on chain is said to have ended so.
    ExitCode {
        /// The exit code.
        code: u32,
    },
}

/// A rule that cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRule {
    /// Too many.
    #[error("{RULES_MAX} rules are enough")]
    TooMany,
    /// Nobody waits so long.
    #[error("a silence of {0} s, at most {HANG_SECS_MAX}")]
    TooLong(u64),
    /// No HTTP status.
    #[error("{0} is no HTTP status of an error")]
    Status(u16),
    /// Neither a method of a real node nor `*`.
    #[error("\"{0}\" is neither a Filecoin. method nor *")]
    Method(String),
}

impl Does {
    /// Whether it changes anything about this method's answer.
    fn concerns(&self, method: &str) -> bool {
        match self {
            Self::Hang { .. } | Self::Http { .. } | Self::Drop | Self::LostAnswer | Self::Stale { .. } => true,
            Self::Network { .. } => {
                matches!(method, "Filecoin.StateNetworkName" | "Filecoin.StateGetNetworkParams")
            }
            Self::NoReceipt | Self::ExitCode { .. } => method == "Filecoin.StateSearchMsg",
        }
    }

    /// How long to wait first.
    pub(crate) const fn pause(&self) -> Option<Duration> {
        match self {
            Self::Hang { secs } => Some(Duration::from_secs(*secs)),
            _ => None,
        }
    }

    /// Turns a true answer into what the rule says.
    pub(crate) fn twist(&self, answer: Value) -> Value {
        match self {
            Self::Network { name } => match answer {
                Value::String(_) => Value::String(name.clone()),
                mut other => {
                    if let Some(there) = other.get_mut("NetworkName") {
                        *there = Value::String(name.clone());
                    }
                    other
                }
            },
            Self::NoReceipt => Value::Null,
            Self::ExitCode { code } => {
                let mut answer = answer;
                if let Some(there) = answer.pointer_mut("/Receipt/ExitCode") {
                    *there = (*code).into();
                }
                answer
            }
            Self::Hang { .. } | Self::Http { .. } | Self::Drop | Self::LostAnswer | Self::Stale { .. } => answer,
        }
    }
}

/// The rules that are left.
#[derive(Debug, Default)]
pub struct Misbehaviour(Vec<Rule>);

impl Misbehaviour {
    /// Adds a rule behind the others.
    pub fn add(&mut self, rule: Rule) -> Result<(), BadRule> {
        if self.0.len() >= RULES_MAX {
            return Err(BadRule::TooMany);
        }
        if rule.method != "*" && !rule.method.starts_with("Filecoin.") {
            return Err(BadRule::Method(rule.method));
        }
        match rule.does {
            Does::Hang { secs } if secs > HANG_SECS_MAX => return Err(BadRule::TooLong(secs)),
            Does::Http { status } if !(400..600).contains(&status) => return Err(BadRule::Status(status)),
            _ => {}
        }
        if rule.times > 0 {
            self.0.push(rule);
        }
        Ok(())
    }

    /// What happens to a call of `method` that came in now.
    pub(crate) fn take(&mut self, method: &str) -> Option<Does> {
        if !method.starts_with("Filecoin.") {
            return None;
        }
        let fits = |rule: &Rule| (rule.method == "*" || rule.method == method) && rule.does.concerns(method);
        let rule = self.0.iter_mut().find(|rule| fits(rule))?;
        rule.times -= 1;
        let does = rule.does.clone();
        self.0.retain(|rule| rule.times > 0);
        Some(does)
    }

    /// Forgets every rule; how many calls were still to go wrong.
    pub fn clear(&mut self) -> u64 {
        std::mem::take(&mut self.0).iter().fold(0, |sum, rule| sum.saturating_add(rule.times))
    }

    /// The rules with what is left of them.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(text: Value) -> Rule {
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn a_rule_ends_after_the_calls_it_fitted() {
        let mut misbehaviour = Misbehaviour::default();
        misbehaviour.add(rule(json!({"method": "*", "does": "network", "name": "other", "times": 1}))).unwrap();
        misbehaviour
            .add(rule(json!({"method": "Filecoin.ChainHead", "does": "stale", "back": 3, "times": 2})))
            .unwrap();
        assert_eq!(misbehaviour.take("Filecoin.MpoolPush"), None);
        assert_eq!(misbehaviour.take("Devnet.Advance"), None);
        assert_eq!(misbehaviour.take("Filecoin.ChainHead"), Some(Does::Stale { back: 3 }));
        assert!(misbehaviour.take("Filecoin.StateNetworkName").is_some());
        assert_eq!(misbehaviour.take("Filecoin.StateNetworkName"), None, "its one call is over");
        assert_eq!(misbehaviour.clear(), 1);
        assert_eq!(misbehaviour.take("Filecoin.ChainHead"), None);
    }

    #[test]
    fn answers_are_twisted_where_the_rule_says() {
        let name = Does::Network { name: "other".to_owned() };
        assert_eq!(name.twist(json!("mainnet")), json!("other"));
        assert_eq!(name.twist(json!({"NetworkName": "a", "X": 1})), json!({"NetworkName": "other", "X": 1}));
        let code = Does::ExitCode { code: 16 };
        assert_eq!(code.twist(json!({"Receipt": {"ExitCode": 0}})), json!({"Receipt": {"ExitCode": 16}}));
        assert_eq!(code.twist(json!(null)), json!(null), "it is not on chain");
        assert_eq!(Does::NoReceipt.twist(json!({"Height": 3})), json!(null));
    }

    #[test]
    fn nonsense_is_refused() {
        let mut misbehaviour = Misbehaviour::default();
        let bad = |text| misbehaviour.add(rule(text)).unwrap_err().to_string();
        let errors: Vec<String> = [
            json!({"method": "*", "does": "hang", "secs": 601, "times": 1}),
            json!({"method": "*", "does": "http", "status": 200, "times": 1}),
            json!({"method": "Devnet.Advance", "does": "drop", "times": 1}),
        ]
        .map(bad)
        .into();
        assert!(errors[0].contains("601") && errors[1].contains("200") && errors[2].contains("Devnet.Advance"));
    }
}
