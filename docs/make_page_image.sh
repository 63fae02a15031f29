#!/usr/bin/env bash
# Makes docs/images/program-page.png, the picture of the README: the page that `chiffre inspect --html` writes for a small network, as a browser paints
# it, with its sections beside each other and without the tables at its end. Needs a Chromium (Debian: chromium-headless-shell, fonts-dejavu-core).
set -euo pipefail
cd "$(dirname "$0")/.."

chiffre=${1:-target/release/chiffre}
browser=${CHIFFRE_BROWSER:-$(command -v chromium-headless-shell chromium chromium-browser google-chrome | head -n 1)}
if [ ! -x "$chiffre" ] || [ -z "$browser" ]; then
    echo "usage: docs/make_page_image.sh [CHIFFRE], after cargo build --release; CHIFFRE_BROWSER names a Chromium if none is on the path" >&2
    exit 2
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$chiffre" compile models/tiny_resnet.onnx -o "$folder/page.chf" --batch 128 >/dev/null
"$chiffre" inspect "$folder/page.chf" --html "$folder/page.html"
cat >"$folder/style.html" <<'STYLE'
<style>
nav, #layers, #keys, #security, #network > p { display: none !important }
main { display: grid; grid-template-columns: 21rem minmax(0, 1fr); column-gap: 2rem }
#summary { grid-column: 1 / 3 } #network { grid-row: 2 / 4 } #levels, #schedule { grid-column: 2 }
#levels svg, #schedule svg { width: 100%; min-width: 0; height: auto }
</style>
STYLE
sed -i "/<\/head>/{
s/<\/head>.*//
r $folder/style.html
}" "$folder/page.html"
mkdir -p docs/images
# The page is our own, and the sandbox needs rights that containers do not give.
"$browser" --headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run --virtual-time-budget=5000 --user-data-dir="$folder/profile" \
    --window-size=1400,1730 --blink-settings=preferredColorScheme=1 --screenshot="$PWD/docs/images/program-page.png" "file://$folder/page.html" 2>/dev/null
size=$(stat -c %s docs/images/program-page.png)
if [ "$size" -gt 300000 ]; then
    echo "docs/images/program-page.png has $size bytes, more than 300,000" >&2
    exit 1
fi
