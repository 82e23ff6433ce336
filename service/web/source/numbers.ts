/** Numbers as people read them. */

/** `0.87`, `1,234`, `−12.4`: as many digits as a reader can use; `even`: also where they are zeros. */
export function numberText(value: number, even = false): string {
  const digits = Math.abs(value) >= 99.95 ? 0 : Math.abs(value) >= 9.995 ? 1 : 2;
  const format = new Intl.NumberFormat("en", { maximumFractionDigits: digits, minimumFractionDigits: even ? digits : 0 });
  return format.format(Number(value.toFixed(digits)) || 0).replace("-", "−");
}
