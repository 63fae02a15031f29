//! Random names of keys and batches: files carry them, so that mixed-up files are noticed.

/// Random name of a secret key: its evaluation keys and ciphertexts carry it.
pub type KeyId = [u8; 16];

/// Random name of an encrypted batch: the batch carries it, and its result repeats it.
pub type Nonce = [u8; 16];

/// Bytes as lower-case hexadecimal digits, as files name keys and digests.
pub fn hex(id: &[u8]) -> String {
    id.iter().map(|b| format!("{b:02x}")).collect()
}

/// The key or nonce that 32 hexadecimal digits name; `None` for any other text.
pub fn parse_id(s: &str) -> Option<KeyId> {
    let mut id = [0; 16];
    if s.len() != 32 || !s.is_ascii() {
        return None;
    }
    for (i, b) in id.iter_mut().enumerate() {
        *b = u8::from_str_radix(&s[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(id)
}
