# run: assign-levels{log-scale=30}
packed @residual {
  const @t : table<taps=1 rows=1 outputs=1 entries=1 weights=f32> = {taps=[0], rows=[[0, 0, 0]], entries=[[0, 0, _, 0.5]]}
  const @t2 : table<taps=1 rows=2 outputs=1 entries=2 weights=f32> = {taps=[0], rows=[[0, 0, 0], [1, 0, 0]], entries=[[0, 0, _, 1.5], [1, 0, _, 1]]}
  const @t3 : table<taps=1 rows=1 outputs=1 entries=1 weights=f32> = {taps=[1], rows=[[0, 0, 0]], entries=[[0, 0, _, 4]]}
  %0 = input : slots[b0 x0] cts[] shape=1x1x2 batch=2 ; "in"
  %1 = linear %0 {taps=[0], table=@t} : slots[b0 x0] cts[] shape=1x1x2 batch=2 ; "conv1"
  %2 = square %1 : slots[b0 x0] cts[] shape=1x1x2 batch=2 ; "act1"
  %3 = linear %2 {taps=[0], table=@t} : slots[b0 x0] cts[] shape=1x1x2 batch=2 ; "conv2"
  %4 = mul %3, %1 : slots[b0 x0] cts[] shape=1x1x2 batch=2 ; "gate"
  %5 = linear %4, %2 {taps=[0], table=@t2} : slots[b0 x0] cts[] shape=1x1x2 batch=2 ; "join"
  %6 = linear %5 {taps=[1], table=@t3} : slots[b0 x0] cts[] shape=1x1x2 batch=2 ; "sum"
  return %6
}
