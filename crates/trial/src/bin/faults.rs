//! The fault suite; see `trial::faults`.

fn main() -> std::process::ExitCode {
    trial::faults::main()
}
