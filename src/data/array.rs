//! Arrays that are in memory already, read as those of a `.npy` file are.

use super::npy::{Header, image_count, parse_element, read_floats, read_images, read_labels, wrong_element};
use super::{DataError, DataOptions, FloatArray, Images, Problem};
use std::path::PathBuf;

/// An array as NumPy describes one: its elements row by row.
#[derive(Clone, Copy, Debug)]
pub struct Array<'a> {
    /// What errors call it.
    pub name: &'a str,
    /// Type of the elements, as in `<f4`, `|u1`, `>i8`.
    pub descr: &'a str,
    /// Extents.
    pub shape: &'a [u64],
    /// The elements.
    pub bytes: &'a [u8],
}

impl Array<'_> {
    /// The error of this array.
    fn fail(&self, problem: Problem) -> DataError {
        DataError { path: PathBuf::from(self.name), problem }
    }

    fn header(&self) -> Result<Header, Problem> {
        let element = parse_element(self.descr).ok_or_else(|| wrong_element(self.descr))?;
        let header = Header { descr: self.descr.into(), element, fortran: false, shape: self.shape.to_vec(), len: 0 };
        header.check_size(self.bytes.len() as u64)?;
        Ok(header)
    }

    /// The elements of an array of float32.
    pub(crate) fn floats(&self) -> Result<FloatArray, DataError> {
        let read = || {
            let header = self.header()?;
            let expected = "float32 is needed";
            read_floats(&mut &*self.bytes, &header)?.ok_or(Problem::Element { found: header.descr, expected })
        };
        read().map_err(|e| self.fail(e))
    }
}

/// Images and labels.
pub(super) fn images(images: &Array<'_>, labels: Option<&Array<'_>>, options: &DataOptions) -> Result<Images, DataError> {
    let read = || {
        let header = images.header()?;
        let available = image_count(&header.shape, options.shape)?.0;
        Ok((available, read_images(&mut &*images.bytes, &header, options)?))
    };
    let (available, pixels) = read().map_err(|e| images.fail(e))?;
    let n = pixels.len() / options.shape.iter().product::<usize>().max(1);
    let classes = |a: &Array<'_>| {
        let read = || read_labels(&mut &*a.bytes, &a.header()?, available, n);
        read().map_err(|e| a.fail(e))
    };
    let labels = labels.map(classes).transpose()?;
    Ok(Images { pixels, n, shape: options.shape, labels, names: (0..n).map(|i| format!("image {i}")).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array<'a>(descr: &'a str, shape: &'a [u64], bytes: &'a [u8]) -> Array<'a> {
        Array { name: "x", descr, shape, bytes }
    }

    #[test]
    fn arrays_are_read_like_files() {
        let options = DataOptions { shape: [1, 2, 2], normalisation: Some("(px/255-mean)/std mean=0 std=1".parse().unwrap()), count: None };
        let floats: Vec<u8> = (0..8).flat_map(|i| (i as f32).to_le_bytes()).collect();
        let doubles: Vec<u8> = (0..8).flat_map(|i| f64::from(i).to_le_bytes()).collect();
        let labels: Vec<u8> = [3i64, 1].iter().flat_map(|l| l.to_le_bytes()).collect();
        let found = images(&array("<f4", &[2, 1, 2, 2], &floats), Some(&array("<i8", &[2], &labels)), &options).unwrap();
        assert_eq!((found.n, found.labels.as_deref(), &found.pixels[..3]), (2, Some(&[3, 1][..]), &[0.0, 1.0, 2.0][..]));
        assert_eq!(found.names, ["image 0", "image 1"]);
        assert_eq!(images(&array("<f8", &[2, 2, 2], &doubles), None, &options).unwrap().pixels, found.pixels);
        assert_eq!(images(&array("|u1", &[1, 2, 2, 1], &[0, 255, 0, 51]), None, &options).unwrap().pixels, [0.0, 1.0, 0.0, 0.2]);
        let wrong = |a: &Array<'_>, labels: Option<&Array<'_>>| images(a, labels, &options).unwrap_err().to_string();
        assert!(wrong(&array("<f4", &[2, 1, 2, 2], &floats[..28]), None).starts_with("x: is truncated"));
        assert!(wrong(&array("|O", &[2, 1, 2, 2], &floats), None).starts_with("x: has elements of type |O"));
        assert!(wrong(&array("<f4", &[8], &floats), None).starts_with("x: has shape 8"));
        assert!(
            wrong(&array("<f4", &[2, 1, 2, 2], &floats), Some(&array("<i8", &[1], &labels[..8]))).starts_with("x: its labels have shape")
        );
        assert_eq!(array("<f4", &[2, 4], &floats).floats().unwrap().shape, [2, 4]);
        assert!(array("<f8", &[2, 4], &doubles).floats().is_err());
    }
}
