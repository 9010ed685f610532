//! What a place's fake provers are told to do.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::Context as _;
use serde::Serialize;
use streams::stage::Stage;

/// Names of a fake prover's works that are no sector's stage.
const POSTS: [&str; 2] = ["vanilla-post", "window-post"];

/// An end other than success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub(super) enum End {
    Crash { signal: i32 },
    Hang,
    Refuse { class: &'static str, code: &'static str },
    Garbage,
    Flood,
}

#[derive(Debug, Clone, Serialize)]
struct Scene {
    delay_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    times: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<End>,
}

/// A script for one place.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub(super) struct Script(BTreeMap<String, Scene>);

impl Script {
    /// Every stage takes so long.
    pub(super) fn even(stage: Duration) -> Self {
        let delay_ms = u64::try_from(stage.as_millis()).unwrap_or(u64::MAX);
        let scene = Scene { delay_ms, times: None, end: None };
        let stages = Stage::ALL.map(|stage| stage.as_str().to_owned());
        let mut scenes: BTreeMap<String, Scene> = stages.into_iter().map(|name| (name, scene.clone())).collect();
        let quick = Scene { delay_ms: delay_ms / 4, ..scene };
        scenes.extend(POSTS.map(|name| (name.to_owned(), quick.clone())));
        Self(scenes)
    }

    /// One stage takes so long.
    pub(super) fn takes(mut self, stage: &str, time: Duration) -> Self {
        if let Some(scene) = self.0.get_mut(stage) {
            scene.delay_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        }
        self
    }

    /// The next run of `stage` ends so.
    pub(super) fn once(mut self, stage: Stage, end: End) -> Self {
        if let Some(scene) = self.0.get_mut(stage.as_str()) {
            scene.times = Some(1);
            scene.end = Some(end);
        }
        self
    }

    /// Writes it, and forgets what earlier scripts at this path have played.
    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        for stage in Stage::ALL {
            match std::fs::remove_file(played(path, stage)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).context("forget what was played");
                }
                _ => {}
            }
        }
        let text = serde_json::to_vec(self).context("write a script")?;
        host::durable::write(path, &text).with_context(|| format!("write {}", path.display()))
    }
}

/// The file that says that the scene of a stage was played.
pub(super) fn played(path: &Path, stage: Stage) -> std::path::PathBuf {
    path.with_extension(format!("{}.1", stage.as_str()))
}
