/**
 * The value of an own, enumerable property that keeps an object from being posted to another thread.
 * A structured clone takes such properties alone; of an object whose state is private it would make
 * an empty one, without a word. It throws a `DataCloneError` where one of the properties is a function.
 */
export function notCloneable(): never {
  throw new TypeError("this only says that the object cannot be cloned");
}
