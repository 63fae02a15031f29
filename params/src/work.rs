//! How much the kernels have in work at a time: what they keep to, and what memory plans count
//! with.

/// Bytes between neighbouring rows of polynomials in memory, which keep equal columns of different
/// rows apart in the caches: an odd number of cache lines, and not a multiple of a page.
pub const ROW_GAP: usize = 137 * 64;

/// Rows of each digit that a decomposition of many polynomials extends at a time.
pub const EXTENDED_ROWS: usize = 6;

/// Bytes of expanded weights of one panel of a linear map at one limb. More rows than fit make
/// several panels, whose results add up.
pub const PANEL_WEIGHT_BYTES: usize = 256 << 20;

/// Ciphertexts of a series, or of a refresh with its series, that are in work at a time: key limbs
/// are read once for so many, temporaries exist for so many.
pub const SERIES_GROUP: usize = 8;

/// Ciphertexts of a product that are in work at a time on so many threads.
pub fn product_group(threads: usize) -> usize {
    threads.clamp(4, 16)
}
