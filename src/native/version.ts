/** The version of the package, which is also the native library's. */
export const packageVersion = "0.1.0";
