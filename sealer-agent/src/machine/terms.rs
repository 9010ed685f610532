//! On which terms a stage's prover runs.

use std::{collections::BTreeMap, ffi::OsString, time::Duration};

use super::{
    activity::Activity,
    config::StageSection,
    confine::{BadConfinement, Confinement},
    discover::Host,
};
use crate::config::Config;

/// Ten times what loading the parameters of a 64 GiB proof takes on a slow disk, the longest that a sound prover sits
/// without computing.
const SILENCE_DEFAULT: Duration = Duration::from_secs(30 * 60);

/// The terms of one stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terms {
    /// How long the prover may run.
    pub(crate) time_limit: Duration,
    /// How long it may neither tell of progress nor compute.
    pub(crate) silence_limit: Option<Duration>,
    /// Memory that it may hold.
    pub(crate) memory_max: Option<u64>,
    /// Variables that it gets.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// What it is kept to.
    pub(crate) confinement: Confinement,
}

impl Terms {
    /// The terms of every stage: a job of an earlier run may be of a class that is not served any more.
    pub(crate) fn by_activity(config: &Config, host: &Host) -> Result<BTreeMap<Activity, Self>, BadConfinement> {
        Activity::all().map(|activity| Ok((activity, Self::of(config, activity, host)?))).collect()
    }

    fn of(config: &Config, activity: Activity, host: &Host) -> Result<Self, BadConfinement> {
        let none = StageSection::default();
        let section = config.stages.get(&activity).unwrap_or(&none);
        Ok(Self {
            time_limit: section.time_limit.unwrap_or_else(|| config.time_limit(activity.class())),
            silence_limit: Some(section.silence_limit.unwrap_or(SILENCE_DEFAULT)).filter(|limit| !limit.is_zero()),
            memory_max: section.memory_max_bytes,
            env: section.env.iter().map(|(name, value)| (name.into(), value.into())).collect(),
            confinement: Confinement::of(config, activity.as_str(), section, host)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use streams::stage::{Class, Stage};

    use super::*;
    use crate::config::ClassSection;

    #[test]
    fn a_stage_goes_before_its_class_and_silence_can_be_allowed() {
        let mut config = Config::default();
        let minute = Duration::from_secs(60);
        config.classes.insert(Class::Io, ClassSection { slots: None, time_limit: Some(2 * minute) });
        let section = StageSection {
            time_limit: Some(minute),
            silence_limit: Some(Duration::ZERO),
            memory_max_bytes: Some(1 << 30),
            env: BTreeMap::from([("RUST_LOG".to_owned(), "debug".to_owned())]),
            ..StageSection::default()
        };
        config.stages.insert(Activity::Stage(Stage::TreeD), section);
        let host = super::super::discover::host(std::path::Path::new("/nowhere"));
        let terms = Terms::by_activity(&config, &host).unwrap();
        let tree_d = &terms[&Activity::Stage(Stage::TreeD)];
        assert_eq!((tree_d.time_limit, tree_d.silence_limit, tree_d.memory_max), (minute, None, Some(1 << 30)));
        assert_eq!(tree_d.env, [("RUST_LOG".into(), "debug".into())]);
        let c1 = &terms[&Activity::Stage(Stage::C1)];
        assert_eq!((c1.time_limit, c1.silence_limit, c1.memory_max), (2 * minute, Some(SILENCE_DEFAULT), None));
        assert!(terms[&Activity::Stage(Stage::Pc1)].time_limit > minute * 60);
    }
}
