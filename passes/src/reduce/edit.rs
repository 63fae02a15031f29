//! Changes of a graph that candidates are made of.

use chiffre_ir::consts::{Array, Const, Consts};

/// The constants with another array in the place of one.
pub(super) fn replaced(consts: &Consts, at: usize, array: Array) -> Consts {
    let mut out = Consts::default();
    let mut array = Some(array);
    for (id, c) in consts.iter() {
        match array.take_if(|_| id.0 as usize == at) {
            Some(a) => out.push(Const::new(&c.name, a)),
            None => out.push(c.clone()),
        };
    }
    out
}
