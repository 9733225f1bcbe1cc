//! Randomness for passwords and tokens that the program makes up.

/// 64 random bits as text.
pub(crate) fn password() -> std::io::Result<String> {
    let mut bytes = [0_u8; 8];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
