//! Addresses as text, and the miner's ID address in its three forms.
//!
//! The letter in front says only which network printed an address. Nodes accept both, so this system always writes
//! `f` and reads both; the library's own printing depends on a process-wide setting and is not used.

use fvm_ipld_encoding::strict_bytes;
use fvm_shared::address::{Address, Network};
use streams::id::MinerId;

/// An address that cannot be read, or is of another kind than needed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("address \"{address}\" is not valid: {reason}")]
pub struct BadAddress {
    address: String,
    reason: String,
}

impl BadAddress {
    fn new(address: impl Into<String>, reason: impl ToString) -> Self {
        Self { address: address.into(), reason: reason.to_string() }
    }
}

/// The power actor, which creates miners.
pub const POWER_ACTOR: Address = Address::new_id(4);

/// Writes an address with the letter `f`.
#[must_use]
pub fn print(address: &Address) -> String {
    let printed = address.to_string();
    match printed.strip_prefix('t') {
        Some(rest) => format!("f{rest}"),
        None => printed,
    }
}

/// Reads an address with either letter.
pub fn parse(text: &str) -> Result<Address, BadAddress> {
    Network::Mainnet
        .parse_address(text)
        .or_else(|_| Network::Testnet.parse_address(text))
        .map_err(|e| BadAddress::new(text, e))
}

/// The address of a miner.
#[must_use]
pub const fn of_miner(miner: MinerId) -> Address {
    Address::new_id(miner.0)
}

/// The miner at an ID address.
pub fn to_miner(address: &Address) -> Result<MinerId, BadAddress> {
    address.id().map(MinerId).map_err(|e| BadAddress::new(print(address), e))
}

/// The miner's name inside proofs: the ID address' payload (LEB128), padded with zeros to 32 bytes.
#[must_use]
pub fn prover_id(miner: MinerId) -> [u8; 32] {
    let mut id = [0; 32];
    for (slot, byte) in id.iter_mut().zip(of_miner(miner).payload_bytes()) {
        *slot = byte;
    }
    id
}

/// The miner's entropy in draws: CBOR of the address as a byte string, not the raw address.
#[must_use]
pub fn entropy(miner: MinerId) -> Vec<u8> {
    let address = of_miner(miner).to_bytes();
    fvm_ipld_encoding::to_vec(&strict_bytes::ByteBuf(address)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_letters_are_read_and_f_is_written() {
        for text in ["t01000", "f01000"] {
            assert_eq!(print(&parse(text).unwrap()), "f01000");
        }
        assert!(parse("x01000").is_err());
        assert!(parse("<empty>").is_err());
        let bls = "f3vur6njy6uucabdgxujlq2tsvtfrhbjwyhumangldl5mbsuzm4otzrsoykmejpukkiywmqidhksbvm32qnjga";
        if let Ok(address) = parse(bls) {
            assert_eq!(print(&address), bls);
        }
    }

    #[test]
    fn a_miner_has_the_forms_the_chain_defines() {
        let miner = MinerId(1000);
        assert_eq!(hex::encode(entropy(miner)), "4300e807");
        assert_eq!(&prover_id(miner)[..3], &[0xe8, 0x07, 0]);
        assert_eq!(to_miner(&of_miner(miner)), Ok(miner));
        assert!(to_miner(&Address::new_actor(b"x")).is_err());
    }
}
