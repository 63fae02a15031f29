//! Arrays of NumPy, and whatever NumPy makes an array of, as images; logits as arrays.

use crate::error::{self, Failure};
use chiffre::InputPort;
use chiffre::data::{Array, DataOptions, Images, join_named, load_inputs};
use chiffre::outputs::Output;
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::path::PathBuf;

/// An array: its elements row by row, as NumPy holds them where they are so already.
pub(crate) struct Elements<'py> {
    name: String,
    descr: String,
    shape: Vec<u64>,
    bytes: PyReadonlyArray1<'py, u8>,
}

impl<'py> Elements<'py> {
    /// Of anything that NumPy makes an array of; errors call it `name`.
    pub(crate) fn of(x: &Bound<'py, PyAny>, name: &str) -> PyResult<Elements<'py>> {
        let py = x.py();
        let numpy = py.import("numpy")?;
        let made = numpy.call_method1("asarray", (x,)).map_err(|e| error::input(py, &format!("{name}: no array of numbers: {e}")))?;
        let shape: Vec<u64> = made.getattr("shape")?.extract()?;
        let dtype = made.getattr("dtype")?;
        let descr: String = dtype.getattr("str")?.extract()?;
        // Elements that are no numbers are not looked at as bytes.
        if !"fiubc".contains(&dtype.getattr("kind")?.extract::<String>()?) {
            return Err(error::input(py, &format!("{name}: has elements of type {descr}; floating-point numbers or uint8 are needed")));
        }
        let rows = numpy.call_method1("ascontiguousarray", (made,))?.call_method1("reshape", (-1,))?;
        let bytes = rows.call_method1("view", ("u1",))?.cast_into::<PyArray1<u8>>()?.readonly();
        Ok(Elements { name: name.into(), descr, shape, bytes })
    }

    /// As the library reads it.
    pub(crate) fn array(&self) -> PyResult<Array<'_>> {
        let bytes = self.bytes.as_slice()?;
        Ok(Array { name: &self.name, descr: &self.descr, shape: &self.shape, bytes })
    }
}

/// Names of inputs, in words.
fn listed(ports: &[InputPort]) -> String {
    ports.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Images of one input, from an array or, for a path, from a file or folder.
fn one(x: &Bound<'_, PyAny>, name: &str, options: &DataOptions) -> PyResult<Images> {
    let found = match x.extract::<PathBuf>() {
        Ok(path) => Images::load(path, options),
        Err(_) => Images::from_arrays(&Elements::of(x, name)?.array()?, None, options),
    };
    found.map_err(|e| Failure::from(e).raise(x.py()))
}

/// What a model with these inputs takes: an array, or the path of a file or folder, or either of
/// them for each input by its name; with labels if there are some.
pub(crate) fn images(
    x: &Bound<'_, PyAny>,
    labels: Option<&Bound<'_, PyAny>>,
    ports: &[InputPort],
    options: &DataOptions,
) -> PyResult<Images> {
    let py = x.py();
    let mut found = if let Ok(parts) = x.cast::<PyDict>() {
        let mut named = vec![];
        for (name, part) in parts {
            let name: String = name.extract()?;
            let Some(port) = ports.iter().find(|p| p.name == name) else {
                return Err(error::input(py, &format!("images: there is no input \"{name}\"; the inputs are {}", listed(ports))));
            };
            named.push((port.name.as_str(), one(&part, &name, &options.of_input(port, ports.len()))?));
        }
        join_named(named, ports).map_err(|e| Failure::from(e).raise(py))?
    } else if let Ok(path) = x.extract::<PathBuf>() {
        load_inputs(&[path], ports, options).map_err(|e| Failure::from(e).raise(py))?
    } else if let [port] = ports {
        one(x, "images", &options.of_input(port, 1))?
    } else {
        let all = listed(ports);
        return Err(error::input(py, &format!("images: the inputs are {all}: give a dict with an array for each")));
    };
    if let Some(labels) = labels {
        found.labels = Some(labels_of(labels, found.n)?);
    }
    Ok(found)
}

/// Arrays by their names or, of an array alone, the one called `name`.
pub(crate) fn by_name<'py>(x: &Bound<'py, PyAny>, name: &str) -> PyResult<Vec<Elements<'py>>> {
    match x.cast::<PyDict>() {
        Ok(parts) => parts.iter().map(|(name, part)| Elements::of(&part, &name.extract::<String>()?)).collect(),
        Err(_) => Ok(vec![Elements::of(x, name)?]),
    }
}

/// Outputs by their names, each an array of images × its own extents.
pub(crate) fn outputs(py: Python<'_>, all: Vec<Output>) -> PyResult<Bound<'_, PyDict>> {
    let named = PyDict::new(py);
    for o in all {
        let images = o.values.len() / o.per_image().max(1);
        let extents: Vec<usize> = std::iter::once(images).chain(o.shape.iter().copied()).collect();
        named.set_item(&o.name, o.values.into_pyarray(py).reshape(extents)?)?;
    }
    Ok(named)
}

/// One class for each of `n` images.
fn labels_of(labels: &Bound<'_, PyAny>, n: usize) -> PyResult<Vec<u32>> {
    let py = labels.py();
    let wrong = || error::input(py, &format!("labels: one class is needed for each of {n} images"));
    let list: Vec<u32> = labels.try_iter()?.map(|l| l?.extract()).collect::<PyResult<_>>().map_err(|_| wrong())?;
    if list.len() == n { Ok(list) } else { Err(wrong()) }
}

/// Rows of `classes` values as an array.
pub(crate) fn rows<'py>(py: Python<'py>, values: Vec<f32>, classes: usize) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let n = values.len() / classes.max(1);
    values.into_pyarray(py).reshape([n, classes])
}
