//! Reading DATA: every format from generated files, and every way in which files are wrong.

use chiffre::data::{DataError, DataOptions, Images, Normalisation, Problem, load};
use chiffre_hostile::{png, zlib};
use image::ColorType;
use ndarray::{Array1, Array2, Array3, Array4, ShapeBuilder};
use ndarray_npy::{NpzWriter, WriteNpyExt, write_npy};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn options(shape: [usize; 3]) -> DataOptions {
    DataOptions { shape, normalisation: Some(Normalisation::new(vec![0.0], vec![1.0 / 255.0]).unwrap()), count: None }
}

fn first(count: usize, shape: [usize; 3]) -> DataOptions {
    DataOptions { count: Some(count), ..options(shape) }
}

/// The problem, after checking that the error names the file.
fn problem(path: &Path, options: &DataOptions) -> Problem {
    let DataError { path: named, problem } = load(path, options).unwrap_err();
    assert!(named.starts_with(path));
    problem
}

fn file(dir: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn npy(dir: &TempDir, name: &str, array: &impl WriteNpyExt) -> PathBuf {
    let path = dir.path().join(name);
    write_npy(&path, array).unwrap();
    path
}

fn npz(dir: &TempDir, fill: impl FnOnce(&mut NpzWriter<File>)) -> PathBuf {
    let path = dir.path().join("a.npz");
    let mut archive = NpzWriter::new(File::create(&path).unwrap());
    fill(&mut archive);
    archive.finish().unwrap();
    path
}

const SHAPE: [usize; 3] = [3, 2, 4];

fn floats(n: usize) -> Array4<f32> {
    Array4::from_shape_fn((n, 3, 2, 4), |(n, c, y, x)| (n * 1000 + c * 100 + y * 10 + x) as f32)
}

fn near(images: &Images, expected: impl IntoIterator<Item = f32>) {
    let expected: Vec<f32> = expected.into_iter().collect();
    assert_eq!(images.pixels.len(), expected.len());
    assert!(images.pixels.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-3), "{:?} {expected:?}", images.pixels);
}

#[test]
fn float_arrays_are_taken_as_they_are_in_both_orders() {
    let dir = TempDir::new().unwrap();
    let array = floats(3);
    let images = load(&npy(&dir, "a.npy", &array), &DataOptions { normalisation: None, ..options(SHAPE) }).unwrap();
    assert_eq!((images.n, images.shape, &images.labels), (3, SHAPE, &None));
    assert_eq!(images.pixels, array.iter().copied().collect::<Vec<_>>());
    assert_eq!(images.names, ["a.npy[0]", "a.npy[1]", "a.npy[2]"]);
    assert_eq!(images.image(1)[0], 1000.0);

    let mut column_major = Array4::zeros((3, 3, 2, 4).f());
    column_major.assign(&array);
    let path = npy(&dir, "f.npy", &column_major);
    assert_eq!(load(&path, &options(SHAPE)).unwrap().pixels, images.pixels);
    assert_eq!(load(&path, &first(2, SHAPE)).unwrap().pixels, images.pixels[..2 * 24]);
}

#[test]
fn big_endian_floats_are_read() {
    let dir = TempDir::new().unwrap();
    let text = format!("{:<118}", "{'descr': '>f4', 'fortran_order': False, 'shape': (1, 1, 1, 1), }");
    let bytes = [b"\x93NUMPY\x01\x00\x76\x00".as_slice(), text.as_bytes(), &1.5f32.to_be_bytes()].concat();
    assert_eq!(load(&file(&dir, "a.npy", &bytes), &options([1, 1, 1])).unwrap().pixels, [1.5]);
}

#[test]
fn bytes_are_normalised_and_gray_may_drop_the_channel() {
    let dir = TempDir::new().unwrap();
    let gray = Array3::from_shape_fn((2, 2, 3), |(n, y, x)| (n * 100 + y * 10 + x) as u8);
    let path = npy(&dir, "g.npy", &gray);
    near(&load(&path, &options([1, 2, 3])).unwrap(), gray.iter().map(|&v| v as f32));
    let one = load(&npy(&dir, "one.npy", &Array2::<u8>::from_elem((2, 3), 9)), &options([1, 2, 3])).unwrap();
    assert_eq!((one.n, one.names), (1, vec!["one.npy".to_string()]));

    let none = DataOptions { normalisation: None, ..options([1, 2, 3]) };
    assert!(matches!(problem(&path, &none), Problem::NoNormalisation));
    let two = DataOptions { normalisation: Normalisation::new(vec![0.0, 0.0], vec![1.0]).ok(), ..options([1, 2, 3]) };
    assert!(matches!(problem(&path, &two), Problem::Normalisation(_)));
    assert!(matches!(problem(&path, &options([3, 2, 3])), Problem::Shape { .. }));
}

#[test]
fn archives_give_labels() {
    let dir = TempDir::new().unwrap();
    let labels = Array1::from_vec(vec![7i64, 0, 255]);
    for (images_key, labels_key, method) in
        [("images", "labels", zip::CompressionMethod::Stored), ("x", "y", zip::CompressionMethod::Deflated)]
    {
        let path = dir.path().join(format!("{images_key}.npz"));
        let method = zip::write::SimpleFileOptions::default().compression_method(method);
        let mut archive = NpzWriter::new_with_options(File::create(&path).unwrap(), method);
        archive.add_array(images_key, &floats(3)).unwrap();
        archive.add_array(labels_key, &labels).unwrap();
        archive.finish().unwrap();
        let all = load(&path, &options(SHAPE)).unwrap();
        assert_eq!((all.n, all.labels), (3, Some(vec![7, 0, 255])));
        assert_eq!(all.pixels, floats(3).iter().copied().collect::<Vec<_>>());
        let some = load(&path, &first(2, SHAPE)).unwrap();
        assert_eq!((some.n, some.pixels.len(), some.labels), (2, 48, Some(vec![7, 0])));
    }
}

#[test]
fn the_only_array_of_an_archive_is_the_images() {
    let dir = TempDir::new().unwrap();
    let path = npz(&dir, |a| a.add_array("arr_0", &floats(1)).unwrap());
    assert_eq!(load(&path, &options(SHAPE)).unwrap().labels, None);
    let path = npz(&dir, |a| {
        a.add_array("a", &floats(1)).unwrap();
        a.add_array("b", &floats(1)).unwrap();
    });
    assert!(matches!(problem(&path, &options(SHAPE)), Problem::Format { .. }));
}

#[test]
fn labels_must_be_one_class_per_image() {
    let dir = TempDir::new().unwrap();
    type Add = dyn Fn(&mut NpzWriter<File>);
    let wrong: [&Add; 4] = [
        &|a| a.add_array("labels", &Array1::from_vec(vec![1i64])).unwrap(),
        &|a| a.add_array("labels", &Array1::from_vec(vec![1i8, -1])).unwrap(),
        &|a| a.add_array("labels", &Array1::from_vec(vec![1f32, 2.0])).unwrap(),
        &|a| a.add_array("labels", &Array2::<i32>::zeros((2, 1))).unwrap(),
    ];
    for add in wrong {
        let path = npz(&dir, |a| {
            a.add_array("images", &floats(2)).unwrap();
            add(a);
        });
        assert!(matches!(problem(&path, &options(SHAPE)), Problem::Labels(_)));
    }
}

#[test]
fn counts_are_checked() {
    let dir = TempDir::new().unwrap();
    let path = npy(&dir, "a.npy", &floats(2));
    assert_eq!(load(&path, &first(1, SHAPE)).unwrap().n, 1);
    assert!(matches!(problem(&path, &first(3, SHAPE)), Problem::Count { asked: 3, available: 2 }));
    assert!(matches!(problem(&npy(&dir, "e.npy", &floats(0)), &options(SHAPE)), Problem::Empty));
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    let dir = TempDir::new().unwrap();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut array = floats(2);
        array[[1, 0, 1, 2]] = bad;
        let path = npy(&dir, "a.npy", &array);
        assert!(matches!(problem(&path, &options(SHAPE)), Problem::NotFinite { image: 1, position: 6, .. }));
        assert!(load(&path, &first(1, SHAPE)).is_ok());
    }
}

#[test]
fn other_elements_are_refused() {
    let dir = TempDir::new().unwrap();
    let doubles = npy(&dir, "d.npy", &Array4::<f64>::from_elem((1, 3, 2, 4), 0.5));
    assert_eq!(load(&doubles, &options(SHAPE)).unwrap().pixels, [0.5; 24], "floating-point numbers of any width are taken");
    let integers = npy(&dir, "i.npy", &Array4::<i32>::zeros((1, 3, 2, 4)));
    assert!(matches!(problem(&integers, &options(SHAPE)), Problem::Element { .. }));
}

#[test]
fn every_truncation_is_an_error() {
    let dir = TempDir::new().unwrap();
    let whole = fs::read(npy(&dir, "a.npy", &floats(2))).unwrap();
    let archive = fs::read(npz(&dir, |a| a.add_array("x", &floats(2)).unwrap())).unwrap();
    for (name, bytes) in [("t.npy", whole), ("t.npz", archive)] {
        for len in 0..bytes.len() {
            load(&file(&dir, name, &bytes[..len]), &options(SHAPE)).unwrap_err();
        }
    }
}

/// Headers that announce more than the file has must fail at once, without room for it being made.
#[test]
fn hostile_headers_do_not_allocate() {
    let dir = TempDir::new().unwrap();
    for shape in ["(18446744073709551615, 3, 2, 4)", "(1000000000000, 3, 2, 4)", "(4294967296, 3, 2, 4)"] {
        for (order, descr) in [("False", "<f4"), ("True", "<f4"), ("False", "|u1"), ("True", "|u1")] {
            let text = format!("{:<118}", format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}"));
            let bytes = [b"\x93NUMPY\x01\x00\x76\x00".as_slice(), text.as_bytes(), &[0; 64]].concat();
            assert!(matches!(problem(&file(&dir, "h.npy", &bytes), &options(SHAPE)), Problem::Length { .. }));
        }
    }
    let long = [b"\x93NUMPY\x02\x00\xff\xff\xff\xff".as_slice(), b"((((((((((("].concat();
    assert!(matches!(problem(&file(&dir, "l.npy", &long), &options(SHAPE)), Problem::Format { .. }));
}

/// Any single wrong byte gives an answer or an error, never a panic.
#[test]
fn wrong_bytes_never_panic() {
    let dir = TempDir::new().unwrap();
    let whole = fs::read(npy(&dir, "a.npy", &floats(1))).unwrap();
    let archive = fs::read(npz(&dir, |a| a.add_array("x", &floats(1)).unwrap())).unwrap();
    for (name, bytes) in [("t.npy", whole), ("t.npz", archive)] {
        for at in 0..bytes.len() {
            for wrong in [b'9', 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] = wrong;
                let _ = load(&file(&dir, name, &bytes), &options(SHAPE));
            }
        }
    }
}

fn record(labels: &[u8], pixel: u8) -> Vec<u8> {
    [labels, &[pixel; 3072]].concat()
}

#[test]
fn cifar_files_are_told_apart_by_their_length() {
    let dir = TempDir::new().unwrap();
    let shape = [3, 32, 32];
    let cifar10 = file(&dir, "ten.bin", &[record(&[3], 10), record(&[9], 20)].concat());
    let images = load(&cifar10, &options(shape)).unwrap();
    assert_eq!((images.n, &images.labels), (2, &Some(vec![3, 9])));
    assert!((images.image(1)[3071] - 20.0).abs() < 1e-3);
    let cifar100 = file(&dir, "hundred.bin", &[record(&[19, 99], 1), record(&[0, 42], 2)].concat());
    assert_eq!(load(&cifar100, &options(shape)).unwrap().labels, Some(vec![99, 42]));
    assert_eq!(load(&cifar100, &first(1, shape)).unwrap().labels, Some(vec![99]));
    // 3074 records of CIFAR-10 are as long as 3073 of CIFAR-100: the labels decide.
    let both = file(&dir, "both.bin", &record(&[15, 77], 200).repeat(3073));
    assert_eq!(load(&both, &first(2, shape)).unwrap().labels, Some(vec![77, 77]));

    assert!(matches!(problem(&cifar10, &options([1, 28, 28])), Problem::Shape { .. }));
    let bytes = fs::read(&cifar10).unwrap();
    for len in [0, 1, 3072, 3075, bytes.len() - 1] {
        assert!(matches!(problem(&file(&dir, "cut.bin", &bytes[..len]), &options(shape)), Problem::Format { .. }));
    }
    assert!(matches!(problem(&file(&dir, "l.bin", &record(&[10], 0)), &options(shape)), Problem::Labels(_)));
}

fn picture(dir: &TempDir, name: &str, bytes: &[u8], color: ColorType, [w, h]: [u32; 2]) -> PathBuf {
    let path = dir.path().join(name);
    image::save_buffer(&path, bytes, w, h, color).unwrap();
    path
}

#[test]
fn pictures_become_planes() {
    let dir = TempDir::new().unwrap();
    let path = picture(&dir, "a.png", &[1, 2, 3, 11, 12, 13], ColorType::Rgb8, [2, 1]);
    near(&load(&path, &options([3, 1, 2])).unwrap(), [1.0, 11.0, 2.0, 12.0, 3.0, 13.0]);
    assert!(matches!(problem(&path, &options([1, 1, 2])), Problem::Picture(_)));
    assert!(matches!(problem(&path, &options([3, 2, 1])), Problem::Shape { .. }));
    assert!(matches!(problem(&path, &first(2, [3, 1, 2])), Problem::Count { .. }));

    let gray = picture(&dir, "g.png", &[5, 6], ColorType::L8, [2, 1]);
    near(&load(&gray, &options([1, 1, 2])).unwrap(), [5.0, 6.0]);
    near(&load(&gray, &options([3, 1, 2])).unwrap(), [5.0, 6.0, 5.0, 6.0, 5.0, 6.0]);
    let jpeg = picture(&dir, "j.JPG", &[90; 64], ColorType::L8, [8, 8]);
    assert!(load(&jpeg, &options([1, 8, 8])).unwrap().pixels.iter().all(|v| (v - 90.0).abs() < 3.0));

    let clear = picture(&dir, "t.png", &[5, 6, 7, 128], ColorType::Rgba8, [1, 1]);
    assert!(matches!(problem(&clear, &options([3, 1, 1])), Problem::Picture(_)));
    let deep = picture(&dir, "d.png", &[5, 6], ColorType::L16, [1, 1]);
    assert!(matches!(problem(&deep, &options([1, 1, 1])), Problem::Picture(_)));
    let bytes = fs::read(&path).unwrap();
    for len in 0..bytes.len() - 12 {
        load(&file(&dir, "cut.png", &bytes[..len]), &options([3, 1, 2])).unwrap_err();
    }
    assert!(matches!(problem(&file(&dir, "wrong.png", b"no picture"), &options([3, 1, 2])), Problem::Format { .. }));
    // A palette of a third of a colour, which is more than the decoder expects.
    let palette = |bytes: usize| {
        let header = [&[0, 0, 0, 2, 0, 0, 0, 1][..], &[8, 3, 0, 0, 0]].concat();
        let chunks = [(*b"IHDR", header), (*b"PLTE", vec![9; bytes]), (*b"IDAT", zlib(&[0, 0, 0])), (*b"IEND", vec![])];
        file(&dir, "palette.png", &png(&chunks))
    };
    assert_eq!(load(&palette(3), &options([3, 1, 2])).unwrap().pixels, [9.0; 6]);
    for bytes in [0, 1, 2, 4] {
        let Problem::Format { why, .. } = problem(&palette(bytes), &options([3, 1, 2])) else { panic!("{bytes} bytes of colours") };
        // Some are refused with the header.
        assert!(!why.contains("panicked"), "{bytes} bytes of colours: {why}");
    }
}

#[test]
fn folders_are_read_in_the_order_of_names() {
    let dir = TempDir::new().unwrap();
    for (name, value) in [("b.png", 2), ("a.png", 1), ("c.png", 3)] {
        picture(&dir, name, &[value], ColorType::L8, [1, 1]);
    }
    file(&dir, "notes.txt", b"not a picture");
    let images = load(dir.path(), &first(2, [1, 1, 1])).unwrap();
    near(&images, [1.0, 2.0]);
    assert_eq!(images.names, ["a.png", "b.png"]);
    assert_eq!(load(dir.path(), &options([1, 1, 1])).unwrap().n, 3);

    let odd = picture(&dir, "aa.png", &[1, 2], ColorType::L8, [2, 1]);
    let error = load(dir.path(), &options([1, 1, 1])).unwrap_err();
    assert_eq!(error.path, odd);
    assert!(error.to_string().contains("aa.png: has shape 1x2"), "{error}");
    let empty = TempDir::new().unwrap();
    assert!(matches!(problem(empty.path(), &options([1, 1, 1])), Problem::Empty));
}

#[test]
fn what_is_not_data_is_named() {
    let dir = TempDir::new().unwrap();
    assert!(matches!(problem(&dir.path().join("missing.npy"), &options([1, 1, 1])), Problem::Io(_)));
    assert!(matches!(problem(&file(&dir, "a.txt", b""), &options([1, 1, 1])), Problem::UnknownKind));
    assert!(matches!(problem(&file(&dir, "a.npz", b"PK\x03\x04"), &options([1, 1, 1])), Problem::Format { .. }));
    let error = load(&npy(&dir, "s.npy", &floats(1)), &options([3, 32, 32])).unwrap_err().to_string();
    let expected = "s.npy: has shape 1x3x2x4, but the model takes 3x32x32 (channels x height x width); resize or convert the data first";
    assert!(error.ends_with(expected), "{error}");
    let missing = load(&dir.path().join("missing.npy"), &options([1, 1, 1])).unwrap_err();
    assert_eq!(chiffre::Error::from(missing).class(), chiffre::Class::Io);
}
