//! The text form of every IR level, with a parser: `parse(print(g)) == g` up to the data of
//! constants.
//!
//! ```text
//! tensor @net {
//!   const @w : f32[4x3x3x3] blake3:06f2…
//!   %0 = input : f32[3x8x8] ; "input"
//!   %1 = conv2d %0 {weight=@w, stride=[1, 1], pad=[1, 1, 1, 1], dilation=[1, 1]} : f32[4x8x8] ; "/conv1/Conv"
//!   return %1
//! }
//! ```
//! `#` starts a comment. A constant of hand-written IR may give its values,
//! `const @w : f32[2] = [1, 2.5]`, instead of a hash; [`print()`] never does, [`print_with_values`]
//! does for small ones. So may a table: `const @t : table<taps=1 rows=1 outputs=1 entries=1
//! masks=1x2 weights=f32> = {taps=[1], rows=[[0, 0, 0]], entries=[[0, 0, 0, 2.5]], masks=["10"]}`.

mod lexer;
mod parse;
mod print;
mod source_map;
mod values;

pub use parse::{keyword, parse, parse_mapped};
pub use print::{print, print_with_values};
pub use source_map::{Position, SourceMap};

#[cfg(test)]
mod tests;
