/** Files put beside the bundle by build.mjs. */
declare module "*?url" {
  const url: string;
  export default url;
}
