#!/usr/bin/env bash
# Builds a submission: the executable of all stages, and the programs of all sizes. The suite starts it from its root with the submission's folder.
#
#     scripts/build_task.sh ./submissions/cifar10
#
# CHIFFRE is a checkout of Chiffre; CHIFFRE_STAGES an executable that was built before, instead; CHIFFRE_MODEL another network than the one in submission.json.
set -euo pipefail
base=${1:?the folder of a submission, like ./submissions/cifar10}
stages=${CHIFFRE_STAGES:-}
if [ -z "$stages" ]; then
    checkout=${CHIFFRE:?a checkout of Chiffre, or CHIFFRE_STAGES, the executable}
    cargo build --release --quiet --manifest-path "$checkout/Cargo.toml" -p chiffre-benchmark-suite
    stages=${CARGO_TARGET_DIR:-$checkout/target}/release/chiffre-stages
fi
"$stages" build "$base"
# A stage that is missing would be skipped without a word.
for stage in server_get_params client_key_generation server_upload_ek server_preprocess_model client_preprocess_input \
    client_encode_encrypt_input server_encrypted_compute client_decrypt_decode client_postprocess; do
    if [ ! -x "$base/build/$stage" ]; then
        echo "$base/build/$stage is missing" >&2
        exit 1
    fi
done
