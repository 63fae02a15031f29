# run: assign-levels
packed @t {
  %0 = input : slots[b0 x0] cts[c0] shape=2x1x2 batch=2 ; "x"
  %1 = square %0 : slots[x0 b0] cts[c0] shape=2x1x2 batch=2 ; "act"
  return %1
}
