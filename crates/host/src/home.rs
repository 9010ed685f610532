//! The one folder of a host where Sealstream keeps its configuration and its data.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

/// The variable that names it.
pub const VARIABLE: &str = "SEALSTREAM_HOME";

/// Where it is for a user without a home of their own, such as a service account.
const WITHOUT_USER_HOME: &str = "/var/lib/sealstream";

/// The flag, else `$SEALSTREAM_HOME`, else `~/.sealstream`; absolute.
#[must_use]
pub fn resolve(flag: Option<PathBuf>) -> PathBuf {
    choose(flag, env::var_os(VARIABLE), env::home_dir())
}

fn choose(flag: Option<PathBuf>, variable: Option<OsString>, user_home: Option<PathBuf>) -> PathBuf {
    let named = |path: &PathBuf| !path.as_os_str().is_empty();
    let home = flag
        .filter(named)
        .or_else(|| variable.map(PathBuf::from).filter(named))
        .or_else(|| {
            user_home.filter(|path| path.is_absolute() && path != Path::new("/")).map(|path| path.join(".sealstream"))
        })
        .unwrap_or_else(|| PathBuf::from(WITHOUT_USER_HOME));
    // Fails only without a current folder; then the path fails at its first use, with its name.
    std::path::absolute(&home).unwrap_or(home)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_wins_then_the_variable_then_the_user() {
        let user = || Some(PathBuf::from("/home/ada"));
        assert_eq!(choose(Some("/flag".into()), Some("/var".into()), user()), Path::new("/flag"));
        assert_eq!(choose(None, Some("/var".into()), user()), Path::new("/var"));
        assert_eq!(choose(None, Some("".into()), user()), Path::new("/home/ada/.sealstream"));
        assert_eq!(choose(None, None, Some("/".into())), Path::new(WITHOUT_USER_HOME));
        assert_eq!(choose(None, None, None), Path::new(WITHOUT_USER_HOME));
    }

    #[test]
    fn a_relative_home_is_made_absolute() {
        let home = choose(Some("there".into()), None, None);
        assert_eq!(home, env::current_dir().unwrap().join("there"));
    }
}
