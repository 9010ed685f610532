//! The program; see the library beside it.

fn main() -> std::process::ExitCode {
    sealer_agent::main()
}
