//! Default names of the place and the agent.

use streams::{
    id::{AgentId, Place},
    stage::Class,
};

/// Characters in a name.
const LEN_MAX: usize = 32;
/// Agents of one first class on one host that get a name by themselves.
pub(crate) const SUFFIX_MAX: u32 = 99;

/// The place of a host: its name to the first dot, in the letters a place may have.
pub(crate) fn place(hostname: &str) -> Option<Place> {
    let first = hostname.split('.').next().unwrap_or_default();
    fitting(first, LEN_MAX).parse().ok()
}

/// `<place>-<class>` for the first agent, then `<place>-<class>-2` and so on; a long place is cut.
pub(crate) fn agent(place: &Place, class: Class, which: u32) -> Option<AgentId> {
    let suffix = if which < 2 { format!("-{class}") } else { format!("-{class}-{which}") };
    let head = fitting(place.as_str(), LEN_MAX.saturating_sub(suffix.len()));
    format!("{head}{suffix}").parse().ok()
}

fn fitting(text: &str, len_max: usize) -> String {
    let plain = |c: char| match c.to_ascii_lowercase() {
        c if c.is_ascii_lowercase() || c.is_ascii_digit() => c,
        _ => '-',
    };
    let name: String = text.chars().map(plain).take(len_max).collect();
    name.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_the_host_to_its_first_dot() {
        assert_eq!(place("Seal_01.example.org").unwrap().as_str(), "seal-01");
        assert_eq!(place(&"x".repeat(60)).unwrap().as_str().len(), 32);
        assert_eq!(place("any"), None);
        assert_eq!(place(""), None);
    }

    #[test]
    fn agents_of_one_place_get_different_names() {
        let place = place("seal-01").unwrap();
        assert_eq!(agent(&place, Class::Pc2Gpu, 1).unwrap().as_str(), "seal-01-pc2-gpu");
        assert_eq!(agent(&place, Class::Pc2Gpu, 2).unwrap().as_str(), "seal-01-pc2-gpu-2");
        let long: Place = "y".repeat(32).parse().unwrap();
        assert_eq!(agent(&long, Class::PostGpu, 12).unwrap().as_str().len(), 32);
    }
}
