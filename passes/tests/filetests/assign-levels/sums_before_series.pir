# run: assign-levels
packed @cut {
  const @c : f32[2x4] = [0, 0.5, 0, 0.25, 0.25, 0, 0.5, 0]
  const @t : table<taps=2 rows=2 outputs=2 entries=2 weights=f32> = {taps=[0, 1], rows=[[0, 0, 0], [0, 0, 1]], entries=[[0, 0, _, 0.5], [1, 1, _, 0.25]]}
  const @s : table<taps=2 rows=2 outputs=1 entries=2 weights=f32> = {taps=[0, 2], rows=[[0, 0, 0], [0, 1, 1]], entries=[[0, 0, _, 1], [1, 0, _, 1]]}
  %0 = input : slots[c0 x1..x0] cts[] shape=2x1x4 batch=1 ; "in"
  %1 = linear %0 {taps=[0, 1], table=@t} : slots[c0 x1..x0] cts[c1] shape=4x1x4 batch=1 ; "conv1"
  %2 = linear %1 {taps=[0, 2], table=@s} : slots[c0 x1..x0] cts[] shape=2x1x4 batch=1 ; "conv1"
  %3 = chebyshev %2 {coeffs=@c} : slots[c0 x1..x0] cts[] shape=2x1x4 batch=1 ; "levelled"
  %4 = linear %3 {taps=[0, 1], table=@t} : slots[c0 x1..x0] cts[c1] shape=4x1x4 batch=1 ; "conv2"
  %5 = linear %4 {taps=[0, 2], table=@s} : slots[c0 x1..x0] cts[] shape=2x1x4 batch=1 ; "conv2"
  %6 = chebyshev %5 {coeffs=@c, sine=true} : slots[c0 x1..x0] cts[] shape=2x1x4 batch=1 ; "refreshed"
  %7 = linear %6 {taps=[0, 1], table=@t} : slots[c0 x1..x0] cts[c1] shape=4x1x4 batch=1 ; "conv3"
  %8 = linear %7 {taps=[0, 2], table=@s} : slots[c0 x1..x0] cts[] shape=2x1x4 batch=1 ; "conv3"
  return %8
}
