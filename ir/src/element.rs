//! Elements of arrays and tensors, and their little-endian bytes.

use crate::container::Dtype;
use std::fmt;

/// An element type of arrays, in the text form, in hashes and in files.
pub trait Element: Copy + PartialEq + fmt::Debug + Default + Send + Sync + 'static {
    /// Name in the text form: `f32`.
    const NAME: &'static str;
    /// Element type in files.
    const DTYPE: Dtype;
    /// Bytes of an element.
    const SIZE: usize;
    /// Appends the element in little-endian order.
    fn write(self, out: &mut Vec<u8>);
    /// Reads an element from [`SIZE`](Self::SIZE) bytes.
    fn read(bytes: &[u8]) -> Self;
    /// False for infinities and NaN.
    fn is_finite(self) -> bool;
    /// The element in the text form, from which it reads back to the same bits; infinities and NaN
    /// do not.
    fn text(self) -> String;
}

macro_rules! element {
    ($t:ty, $name:literal, $dtype:ident, $finite:expr, $text:expr) => {
        impl Element for $t {
            const NAME: &'static str = $name;
            const DTYPE: Dtype = Dtype::$dtype;
            const SIZE: usize = size_of::<$t>();
            fn write(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn read(bytes: &[u8]) -> Self {
                let mut b = [0; size_of::<$t>()];
                b.copy_from_slice(bytes);
                <$t>::from_le_bytes(b)
            }
            fn is_finite(self) -> bool {
                let finite: fn($t) -> bool = $finite;
                finite(self)
            }
            fn text(self) -> String {
                let text: fn($t) -> String = $text;
                text(self)
            }
        }
    };
}
// A negative zero is no integer, and would lose its sign as one.
element!(f32, "f32", F32, f32::is_finite, |x| if x.to_bits() == 1 << 31 { "-0.0".into() } else { x.to_string() });
element!(f64, "f64", F64, f64::is_finite, |x| format!("{x:?}"));
element!(i64, "i64", I64, |_| true, |x| x.to_string());
element!(u32, "u32", U32, |_| true, |x| x.to_string());

/// Little-endian bytes of elements.
pub(crate) fn to_bytes<T: Element>(data: impl IntoIterator<Item = T>) -> Vec<u8> {
    let mut out = vec![];
    data.into_iter().for_each(|x| x.write(&mut out));
    out
}

/// Elements from little-endian bytes; a rest that is no whole element is left out.
pub(crate) fn from_bytes<T: Element>(bytes: &[u8]) -> Vec<T> {
    bytes.chunks_exact(T::SIZE).map(T::read).collect()
}
