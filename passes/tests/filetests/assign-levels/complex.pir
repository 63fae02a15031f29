# run: assign-levels
packed @complex {
  const @t : table<taps=1 rows=1 outputs=1 entries=1 weights=f32> = {taps=[0], rows=[[0, 0, 0]], entries=[[0, 0, _, 0.5]]}
  const @t2 : table<taps=1 rows=1 outputs=1 entries=1 weights=f32> = {taps=[1], rows=[[0, 0, 0]], entries=[[0, 0, _, 0.5]]}
  %0 = input : slots[x0] cts[] complex=b0 shape=1x1x2 batch=2 ; "in"
  %1 = linear %0 {taps=[0], table=@t} : slots[x0] cts[] complex=b0 shape=1x1x2 batch=2 ; "conv1"
  %2 = square %1 : slots[x0] cts[] complex=b0 shape=1x1x2 batch=2 ; "act"
  %3 = linear %2 {taps=[1], table=@t2} : slots[x0] cts[] complex=b0 shape=1x1x2 batch=2 ; "conv2"
  return %3
}
