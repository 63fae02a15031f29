"""Compile, encrypt, run, decrypt: both sides of an encrypted inference in one process."""

import sys
from pathlib import Path

import numpy as np

import chiffre

models = Path(sys.argv[1] if len(sys.argv) > 1 else "models")

# Either side: compile. The program file goes to both.
program = chiffre.compile(models / "tiny_cnn.onnx", batch=64, memory="2GiB")
print(program, program.security, program.predict())

# The data owner makes keys and encrypts. The secret key and the receipt stay here.
client = chiffre.Client(program)
client.save_evaluation_keys("eval.key", replace=True)
images = np.load(models / "tiny1_test.npz")["images"][:64]
batch, receipt = client.encrypt(images)

# The server has the program and the evaluation keys, and learns nothing of images and answers.
server = chiffre.Server(program, "eval.key")
result = server.run(bytes(batch), progress=lambda p: print(f"{100 * p.fraction:.0f} % {p.node}"))

answers = client.decrypt(result, receipt)
clear = program.simulate(images)
print("classes:", answers.top(1)[:, 0].tolist())
print("largest difference from the clear run:", float(np.abs(answers.logits - clear).max()))
assert answers.lost == [] and (answers.top(1)[:, 0] == clear.argmax(axis=1)).all()
