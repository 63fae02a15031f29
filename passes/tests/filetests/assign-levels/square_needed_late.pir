# run: assign-levels,place-relin
packed @late {
  const @t : table<taps=1 rows=1 outputs=1 entries=1 weights=f32> = {taps=[0], rows=[[0, 0, 0]], entries=[[0, 0, _, 0.5]]}
  const @t2 : table<taps=1 rows=2 outputs=1 entries=2 weights=f32> = {taps=[0], rows=[[0, 0, 0], [1, 0, 0]], entries=[[0, 0, _, 1.5], [1, 0, _, 1]]}
  %0 = input : slots[b0 x0] cts[] shape=1x1x2 batch=2 ; "in"
  %1 = linear %0 {taps=[0], table=@t} : slots[b0 x0] cts[] shape=1x1x2 batch=2 ; "conv1"
  %2 = square %1 : slots[b0 x0] cts[] shape=1x1x2 batch=2 ; "late"
  %3 = linear %1 {taps=[0], table=@t} : slots[b0 x0] cts[] shape=1x1x2 batch=2 ; "conv2"
  %4 = linear %3 {taps=[0], table=@t} : slots[b0 x0] cts[] shape=1x1x2 batch=2 ; "conv3"
  %5 = linear %4, %2 {taps=[0], table=@t2} : slots[b0 x0] cts[] shape=1x1x2 batch=2 ; "join"
  return %5
}
