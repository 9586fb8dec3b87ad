/* ops/kernels/vmath.h -- elementary functions on vectors. Polynomials are our own minimax fits (weighted least squares
** in 40-digit arithmetic). NaN gives NaN, infinities give the limit; where that is infinity times 0, NaN.
**
** The largest error over all floats, in units of the last place of the exact result, on any instruction set, and where the
** result is below the normal floats (of the smallest float, then):
**   exp 1.02, 0.76    erf 3.7, 0.93    tanh 1.34, 0    sigmoid 2.41, 0.76    gelu 7.3, 2.8    silu 3.4, 1.4
**   hard_swish 2.5, 0.5    leaky_relu, prelu 0.5    relu, clip: none
** Of rows of up to 1024 elements (impl_rows.c): softmax 6, and one for each unit that the element lies below the row's largest;
** layer_norm 3, of its terms (1 + (|x| + |mean|) / deviation) |gamma| + |beta|.
** tests/ops/test_vmath.c holds them to it. */
#ifndef MIEN_OPS_KERNELS_VMATH_H
#define MIEN_OPS_KERNELS_VMATH_H

#include "ops/kernels/simd.h"

/* exp(x) as the result, 0.7 to 1.5, times 2 to the *power: what is multiplied before vf_scale keeps its digits where exp(x) is
** below the normal floats. */
VEC vf v_exp_parts(vf x, vf *power) {
  /* Past these the result is 0 or infinity anyway; the clamp keeps a NaN. */
  x = vf_max2(vf_set(-110.0f), vf_min2(vf_set(90.0f), x));
  vf n = vf_round(x * vf_set(1.44269504f));
  vf r = vf_fnma(n, vf_set(0.693359375f), x);
  r = vf_fnma(n, vf_set(-2.12194440e-4f), r);
  vf p = vf_set(0.0013814606f);
  p = vf_fma(p, r, vf_set(0.008368712f));
  p = vf_fma(p, r, vf_set(0.041668389f));
  p = vf_fma(p, r, vf_set(0.16666521f));
  p = vf_fma(p, r, vf_set(0.49999994f));
  *power = n;
  return vf_fma(p, r * r, r) + vf_set(1.0f);
}

VEC vf v_exp(vf x) {
  vf n, p = v_exp_parts(x, &n);
  return vf_scale(p, n);
}

VEC vf v_sigmoid(vf x) {
  vf e = v_exp(-vf_abs(x)); /* <= 1: neither branch overflows */
  return vf_select(vf_less(x, vf_set(0)), e, vf_set(1.0f)) / (vf_set(1.0f) + e);
}

/* NaN at minus infinity, as x times sigmoid(x) is. */
VEC vf v_silu(vf x) {
  vf n, p = v_exp_parts(-vf_abs(x), &n);
  vf negative = vf_scale(p * vf_max2(vf_set(-110.0f), x), n) + (x - x);
  return vf_select(vf_less(x, vf_set(0)), negative, x) / (vf_set(1.0f) + vf_scale(p, n));
}

VEC vf v_tanh(vf x) {
  vf a = vf_abs(x), s = x * x;
  vf p = vf_set(-0.0057049696f);
  p = vf_fma(p, s, vf_set(0.02063907f));
  p = vf_fma(p, s, vf_set(-0.053739708f));
  p = vf_fma(p, s, vf_set(0.13331442f));
  p = vf_fma(p, s, vf_set(-0.33333281f));
  vf small = vf_fma(p * s, x, x);
  vf large = vf_set(1.0f) - vf_set(2.0f) / (v_exp(a + a) + vf_set(1.0f));
  return vf_select(vf_less(a, vf_set(0.625f)), small, vf_copysign(large, x));
}

/* exp(a^2) erfc(a) for a >= 0, as a polynomial in 1 / (1 + a / 2). */
VEC vf v_erfcx(vf a) {
  vf t = vf_set(1.0f) / vf_fma(a, vf_set(0.5f), vf_set(1.0f));
  vf p = vf_set(-0.059194472f);
  p = vf_fma(p, t, vf_set(0.2851882f));
  p = vf_fma(p, t, vf_set(-0.48847151f));
  p = vf_fma(p, t, vf_set(0.27952415f));
  p = vf_fma(p, t, vf_set(-0.02763092f));
  p = vf_fma(p, t, vf_set(0.20311287f));
  p = vf_fma(p, t, vf_set(0.24299593f));
  p = vf_fma(p, t, vf_set(0.28239015f));
  p = vf_fma(p, t, vf_set(0.28208557f)) * t;
  return p;
}

/* Near 0 the series (its next term is below 5e-10 of the result), elsewhere 1 - erfc. */
VEC vf v_erf(vf x) {
  vf a = vf_min2(vf_set(10.0f), vf_abs(x)), s = x * x;
  vf p = vf_set(1.0f / 9360.0f);
  p = vf_fma(p, s, vf_set(-1.0f / 1320.0f));
  p = vf_fma(p, s, vf_set(1.0f / 216.0f));
  p = vf_fma(p, s, vf_set(-1.0f / 42.0f));
  p = vf_fma(p, s, vf_set(0.1f));
  p = vf_fma(p, s, vf_set(-1.0f / 3.0f));
  vf small = vf_fma(p * s, x, x) * vf_set(1.1283791671f);
  vf large = vf_set(1.0f) - v_exp(-(a * a)) * v_erfcx(a);
  return vf_select(vf_less(a, vf_set(0.5f)), small, vf_copysign(large, x));
}

/* What rounding took from s = a^2. Without a fused operation: exact products of halves of a's digits. */
VEC vf v_square_low(vf a, vf s) {
#ifdef VF_FUSED
  return vf_fma(a, a, -s);
#else
  vf wide = a * vf_set(4097.0f), high = wide - (wide - a), low = a - high;
  return ((high * high - s) + (high + high) * low) + low * low;
#endif
}

/* exp(-a^2 / 2) as v_exp_parts gives it, to half a unit in spite of the square: a polynomial in twice the rest, |a| <= 14.5. */
VEC vf v_bell_parts(vf a, vf *power) {
  vf s = a * a, n = vf_round(s * vf_set(-0.72134752f));
  vf r = vf_fnma(n, vf_set(1.38671875f), -s);
  r = vf_fnma(n, vf_set(-4.2438840e-4f), r) - v_square_low(a, s);
  vf p = vf_set(2.1585322e-5f);
  p = vf_fma(p, r, vf_set(2.6152225e-4f));
  p = vf_fma(p, r, vf_set(0.0026042743f));
  p = vf_fma(p, r, vf_set(0.020833151f));
  p = vf_fma(p, r, vf_set(0.12499998f));
  p = vf_fma(p, r, vf_set(0.5f));
  *power = n;
  return vf_fma(p, r, vf_set(1.0f));
}

/* exp(a^2 / 2) Phi(-a) for 0 <= a <= 14.5, as a polynomial in 1 / (1 + 0.347 a). */
VEC vf v_mills(vf a) {
  vf t = vf_set(1.0f) / vf_fma(a, vf_set(0.347f), vf_set(1.0f));
  vf p = vf_set(-0.028721693f);
  p = vf_fma(p, t, vf_set(0.1449185f));
  p = vf_fma(p, t, vf_set(-0.26522325f));
  p = vf_fma(p, t, vf_set(0.1760232f));
  p = vf_fma(p, t, vf_set(-0.031680717f));
  p = vf_fma(p, t, vf_set(0.10920306f));
  p = vf_fma(p, t, vf_set(0.1183079f));
  p = vf_fma(p, t, vf_set(0.13875254f));
  return vf_fma(p, t, vf_set(0.13842044f)) * t;
}

/* x * Phi(x) = max(x, 0) - |x| * Phi(-|x|), without the cancellation of 1 + erf on the negative side; NaN at minus infinity, as
** x times Phi(x) is. */
VEC vf v_gelu(vf x) {
  vf a = vf_min2(vf_set(14.5f), vf_abs(x)); /* Phi(-14.5) is below the smallest float */
  vf n, p = v_bell_parts(a, &n), u = vf_min2(vf_set(0), x);
  return vf_max2(vf_set(0), x) - (vf_scale(v_mills(a) * p * a, n) + (u - u));
}

/* One activation; `slope` is used by PRelu alone. The switch is outside the caller's loops where act is constant. */
VEC vf v_activate(mien_activation act, vf x, vf alpha, vf beta, vf slope) {
  switch (act) {
    case MIEN_ACT_IDENTITY: return x;
    case MIEN_ACT_RELU: return vf_max2(vf_set(0), x);
    case MIEN_ACT_LEAKY_RELU: return vf_select(vf_less(x, vf_set(0)), x * alpha, x);
    case MIEN_ACT_PRELU: return vf_select(vf_less(x, vf_set(0)), x * slope, x);
    case MIEN_ACT_CLIP: return vf_min2(beta, vf_max2(alpha, x));
    case MIEN_ACT_SIGMOID: return v_sigmoid(x);
    case MIEN_ACT_TANH: return v_tanh(x);
    case MIEN_ACT_GELU: return v_gelu(x);
    case MIEN_ACT_SILU: return v_silu(x);
    case MIEN_ACT_HARD_SWISH: {
      vf gate = (x + vf_set(3.0f)) * vf_set(1.0f / 6.0f); /* exact where it vanishes */
      return x * vf_min2(vf_set(1.0f), vf_max2(vf_set(0), gate));
    }
  }
  return x;
}

#endif
