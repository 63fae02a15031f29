# run: assign-levels
packed @complex {
  const @r : f32[1x3] = [0, 0, 0]
  const @e : f32[1x4] = [0, 0, -1, 0.5]
  %0 = input : slots[x0] cts[] complex=b0 shape=1x1x2 batch=2 ; "in"
  %1 = linear %0 {taps=[0], rows=@r, entries=@e} : slots[x0] cts[] complex=b0 shape=1x1x2 batch=2 ; "conv1"
  %2 = square %1 : slots[x0] cts[] complex=b0 shape=1x1x2 batch=2 ; "act"
  %3 = linear %2 {taps=[1], rows=@r, entries=@e} : slots[x0] cts[] complex=b0 shape=1x1x2 batch=2 ; "conv2"
  return %3
}
