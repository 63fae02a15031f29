# run: assign-levels,place-relin
packed @late {
  const @r : f32[1x3] = [0, 0, 0]
  const @e : f32[1x4] = [0, 0, -1, 0.5]
  const @r2 : f32[2x3] = [0, 0, 0, 1, 0, 0]
  const @e2 : f32[2x4] = [0, 0, -1, 1.5, 1, 0, -1, 1]
  %0 = input : slots[b0 x0] cts[] shape=1x1x2 batch=2 ; "in"
  %1 = linear %0 {taps=[0], rows=@r, entries=@e} : slots[b0 x0] cts[] shape=1x1x2 batch=2 ; "conv1"
  %2 = square %1 : slots[b0 x0] cts[] shape=1x1x2 batch=2 ; "late"
  %3 = linear %1 {taps=[0], rows=@r, entries=@e} : slots[b0 x0] cts[] shape=1x1x2 batch=2 ; "conv2"
  %4 = linear %3 {taps=[0], rows=@r, entries=@e} : slots[b0 x0] cts[] shape=1x1x2 batch=2 ; "conv3"
  %5 = linear %4, %2 {taps=[0], rows=@r2, entries=@e2} : slots[b0 x0] cts[] shape=1x1x2 batch=2 ; "join"
  return %5
}
