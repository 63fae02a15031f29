//! Images of any size among ordinary ones.

use chiffre::data::{DataOptions, Images, load};
use chiffre::screening::without;
use chiffre::{Client, Options, Program, Server};
use std::collections::BTreeSet;
use std::path::Path;

/// The image that is changed.
const ABSURD: usize = 7;
/// Images of a batch.
const IMAGES: usize = 40;

fn shipped(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name)
}

/// The first shipped images for a model, and more of them for calibration.
fn images(model: &str) -> (Images, Images) {
    let m = chiffre_frontend::load(&shipped(model)).unwrap();
    let shape: [usize; 3] = m.input_shape.clone().try_into().unwrap();
    let normalisation = m.normalisation.clone();
    let data = shipped(if shape[0] == 1 { "tiny1_test.npz" } else { "tiny3_test.npz" });
    let all = |count| load(&data, &DataOptions { shape, normalisation: normalisation.clone(), count }).unwrap();
    (all(Some(IMAGES)), all(None))
}

/// A program in a small ring, of whose inputs nothing is known unless `range` says it.
fn program(model: &str, calibration: &Images, passes: &str, range: Option<[f64; 2]>) -> Program {
    let mut m = chiffre_frontend::load(&shipped(model)).unwrap();
    m.normalisation = None;
    let options = Options {
        batch: IMAGES,
        log_n: Some(11),
        calibration: Some(calibration.clone()),
        activation_degree: Some(7),
        passes: (!passes.is_empty()).then(|| passes.to_string()),
        input_range: range,
        allow_insecure: true,
        ..Options::default()
    };
    chiffre::compile_model(&m, &options).unwrap()
}

fn scaled(x: &Images, factor: f32) -> Images {
    let mut x = x.clone();
    let per: usize = x.shape.iter().product();
    let most = x.image(ABSURD).iter().fold(0.0, |m: f32, v| m.max(v.abs()));
    x.pixels[ABSURD * per..(ABSURD + 1) * per].iter_mut().for_each(|v| *v *= factor.min(9.9e5 / most));
    x
}

/// Keys and a server for a program.
struct Lab {
    client: Client,
    server: Server,
}

impl Lab {
    fn new(program: &Program) -> Lab {
        let client = Client::new(program).unwrap();
        let server = Server::new(program, client.evaluation_keys().unwrap()).unwrap();
        Lab { client, server }
    }
    /// Answers of the images that are not refused; the others by number.
    fn answers(&self, x: &Images) -> (Vec<Option<Vec<f32>>>, BTreeSet<usize>) {
        let (batch, receipt) = self.client.encrypt_without_absurd(x).unwrap();
        let answers = self.client.decrypt(&self.server.run(batch).unwrap(), &receipt).unwrap();
        (answers.rows().map(|row| row.map(<[f32]>::to_vec)).collect(), receipt.left_out().iter().copied().collect())
    }
}

/// The largest difference of a logit of other images.
fn error(a: &[Option<Vec<f32>>], b: &[Option<Vec<f32>>]) -> f32 {
    let rows = a.iter().zip(b).enumerate().filter(|(i, _)| *i != ABSURD);
    let difference = |(a, b): (&Option<Vec<f32>>, &Option<Vec<f32>>)| match (a, b) {
        (Some(a), Some(b)) => a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max),
        _ => f32::INFINITY,
    };
    rows.map(|(_, pair)| difference(pair)).fold(0.0, f32::max)
}

const BEFORE: &str = "tensor(recognise-activation,fold-affine,compose-linear,remove-dead-channels,";
const BEHIND: &str = "fold-scales),choose-layout,lower-linear,he(assign-levels,place-relin,select-params),schedule";

/// Networks and pipelines, each with the largest error of a logit that others may cause: what
/// answers are off by anyway, some times over.
fn cases() -> [(&'static str, String, f32); 5] {
    let approximated = |how: &str| format!("{BEFORE}calibrate-activations,approximate-activations{{{how}}},{BEHIND}");
    [
        ("tiny_resnet_relu.onnx", approximated("refresh=yes"), 0.15),
        ("tiny_resnet_relu.onnx", approximated("refresh=no"), 0.15),
        ("tiny_resnet.onnx", String::new(), 0.02),
        ("tiny_cnn.onnx", String::new(), 0.02),
        ("tiny_mlp.onnx", String::new(), 0.02),
    ]
}

#[test]
fn an_absurd_image_is_refused_by_name_or_leaves_others_alone() {
    for (model, passes, most) in cases() {
        let (x, calibration) = images(model);
        let p = program(model, &calibration, &passes, None);
        let lab = Lab::new(&p);
        let (plain, refused) = lab.answers(&x);
        assert!(refused.is_empty(), "{model}: no ordinary image is refused");
        for factor in [1e3, 1e4, 1e5, 1e6] {
            let x = scaled(&x, factor);
            let refused: Vec<usize> = lab.client.absurd(&x).unwrap().iter().map(|a| a.image).collect();
            println!("{model} {passes:.40}: times {factor:e}: refused {refused:?}");
            if refused == [ABSURD] {
                let text = lab.client.encrypt(&x).unwrap_err().to_string();
                assert!(text.contains("1 of 40 images cannot be encrypted with the others. ") && text.contains("npz[7]: "), "{text}");
                continue;
            }
            let (answers, _) = lab.answers(&x);
            let error = error(&plain, &answers);
            assert!(refused.is_empty() && error < most, "{model}: times {factor}: {refused:?}, error of others {error}");
        }
        // The largest that is not refused.
        let (mut low, mut high) = (1.0f32, 1e6f32);
        while high / low > 1.05 {
            let middle = (low * high).sqrt();
            if lab.client.absurd(&scaled(&x, middle)).unwrap().is_empty() { low = middle } else { high = middle }
        }
        let (answers, refused) = lab.answers(&scaled(&x, low));
        let error = error(&plain, &answers);
        println!("{model} {passes:.40}: the largest that passes is times {low}: largest error of others {error}");
        assert!(refused.is_empty() && error < most, "{model}: times {low}: {error}");
        assert!(low > 1.5, "{model}: hardly larger than others");
    }
}

/// What is usual is not what most of a batch are like.
#[test]
fn many_absurd_images_do_not_hide_each_other() {
    let (x, calibration) = images("tiny_resnet.onnx");
    let client = Client::new(&program("tiny_resnet.onnx", &calibration, "", None)).unwrap();
    let per: usize = x.shape.iter().product();
    for factor in [20.0, 1e4] {
        let mut y = x.clone();
        y.pixels[12 * per..].iter_mut().for_each(|v| *v *= factor);
        let absurd: Vec<usize> = client.absurd(&y).unwrap().iter().map(|a| a.image).collect();
        assert_eq!(absurd, (12..IMAGES).collect::<Vec<_>>(), "times {factor}");
    }
}

#[test]
fn a_range_of_inputs_is_enforced() {
    let (model, passes, _) = cases()[0].clone();
    let (x, calibration) = images(model);
    let p = program(model, &calibration, &passes, Some([-3.0, 3.0]));
    let client = Client::new(&p).unwrap();
    assert_eq!(client.absurd(&x).unwrap(), []);
    let mut y = scaled(&x, 1e3);
    y.pixels[3 * 192 + 70] = 3.5;
    let absurd = client.absurd(&y).unwrap();
    assert_eq!(absurd.iter().map(|a| a.image).collect::<Vec<_>>(), [3, ABSURD]);
    assert_eq!(absurd[0].reason.to_string(), "it has the value 3.5 in channel 1, and the program takes -3.000 to 3.000 there");
    assert!(client.encrypt(&y).unwrap_err().to_string().contains("2 of 40 images"));
    // Whoever leaves them out has answers to the others, in their places.
    let (_, receipt) = client.encrypt_without_absurd(&y).unwrap();
    assert_eq!((receipt.left_out(), receipt.names().len()), (&[3, ABSURD][..], IMAGES));
    let all: Vec<usize> = (0..IMAGES).filter(|i| ![3, ABSURD].contains(i)).collect();
    assert_eq!(client.encrypt_without_absurd(&without(&y, &all)).unwrap_err().class(), chiffre::Class::Input, "nothing is left");
}

/// Where channels share slots, masks are as long as a ciphertext, and ordinary images add about as
/// much to each other as was simulated. They are not absurd for that.
#[test]
fn ordinary_images_pass_where_channels_share_slots() {
    let (_, calibration) = images("tiny_resnet_relu.onnx");
    let per: usize = calibration.shape.iter().product();
    let mut x = calibration.clone();
    x.n = 128;
    x.pixels.truncate(128 * per);
    let mut m = chiffre_frontend::load(&shipped("tiny_resnet_relu.onnx")).unwrap();
    m.normalisation = None;
    let options = Options { batch: x.n, log_n: Some(15), calibration: Some(calibration), activation_degree: Some(7), ..Options::default() };
    let client = Client::new(&chiffre::compile_model(&m, &options).unwrap()).unwrap();
    let absurd = |x: &Images| client.absurd(x).unwrap().iter().map(|a| a.image).collect::<Vec<_>>();
    assert_eq!(absurd(&x), Vec::<usize>::new());
    for factor in [1e2, 1e3, 1e6] {
        assert_eq!(absurd(&scaled(&x, factor)), [ABSURD], "{factor}");
    }
}
