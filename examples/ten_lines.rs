//! Compile, encrypt, run, decrypt: both sides of an encrypted inference in one process.

use chiffre::{Client, Images, Options, Server};

fn main() -> Result<(), chiffre::Error> {
    let program = chiffre::compile("models/tiny_mlp.onnx", &Options { batch: 8, ..Options::default() })?;
    // The data owner makes keys and encrypts. The secret key stays in `client`.
    let client = Client::new(&program)?;
    let images = Images::load("models/tiny1_test.npz", &program.data_options()?.first(8))?;
    let (encrypted, receipt) = client.encrypt(&images)?;
    // The server has the program and the evaluation keys, and learns nothing of images and answers.
    let server = Server::new(&program, client.evaluation_keys()?)?;
    let result = server.run(encrypted)?;
    let answers = client.decrypt(&result, &receipt)?;
    println!("classes of the images: {:?}", answers.best());
    Ok(())
}
