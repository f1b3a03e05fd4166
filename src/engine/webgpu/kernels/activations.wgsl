// Activations as x·g(x), in units of T, by KIND: silu has g = sigmoid(x), gelu g = Φ(x), gelu_tanh g = sigmoid(2u),
// relu g = [x > 0]. `gate` is g, `slope` the derivative of x·g, given g.
// Exponents stay below 80: a shader may take infinities for anything.

fn sigmoid(x: ${T}) -> ${T} { return ${T}(1.0) / (${T}(1.0) + exp(min(-x, ${T}(80.0)))); }

//#if KIND == silu
fn gate(x: ${T}) -> ${T} { return sigmoid(x); }
fn slope(x: ${T}, g: ${T}) -> ${T} { return g * (x * (${T}(1.0) - g) + ${T}(1.0)); }
//#elif KIND == gelu
// e^(-x²/2), 0 from where float32 has no less.
fn bell(x: ${T}) -> ${T} {
  let z = min(abs(x), ${T}(13.5));
  return exp(-0.5 * z * z);
}

// With t = 1 / (1 + |x|/4) the lower tail is bell(x)·t·Q(t), Q a minimax polynomial of degree 9: nothing cancels, so that
// the tail keeps its relative accuracy.
fn gate(x: ${T}) -> ${T} {
  let t = ${T}(1.0) / (min(abs(x), ${T}(15.0)) * 0.25 + ${T}(1.0));
  var q = ${T}(0.0165790591264) * t + ${T}(-0.0627890313467);
  q = q * t + ${T}(0.0516451974156);
  q = q * t + ${T}(0.0284450786634);
  q = q * t + ${T}(0.0127044262065);
  q = q * t + ${T}(0.0866607002817);
  q = q * t + ${T}(0.0719981696408);
  q = q * t + ${T}(0.0955159707143);
  q = q * t + ${T}(0.0994925285064);
  q = q * t + ${T}(0.0997479048628);
  let tail = bell(x) * t * q;
  return select(${T}(1.0) - tail, tail, x < ${T}(0.0));
}

fn slope(x: ${T}, g: ${T}) -> ${T} { return x * (bell(x) * 0.3989422804) + g; }
//#elif KIND == gelu_tanh
// 2u = x·2√(2/π)·(1 + 0.044715 x²)
fn gate(x: ${T}) -> ${T} { return sigmoid(x * 1.5957691216 * (x * x * 0.044715 + ${T}(1.0))); }
fn slope(x: ${T}, g: ${T}) -> ${T} {
  return g * (${T}(1.0) - g) * (x * 1.5957691216 * (x * x * 0.134145 + ${T}(1.0))) + g;
}
//#else
fn gate(x: ${T}) -> ${T} { return select(${T}(0.0), ${T}(1.0), x > ${T}(0.0)); }
fn slope(x: ${T}, g: ${T}) -> ${T} { return g; }
//#endif
