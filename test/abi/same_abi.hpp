// Whether two C functions can be called in the same way: the same number of arguments, and of each,
// and of the result, the same kind and size. A pointer to void stands for a pointer to anything.
#pragma once

#include <cstddef>
#include <tuple>
#include <type_traits>

namespace abi {

template <class T>
constexpr bool is_number = std::is_integral_v<T> || std::is_enum_v<T>;

// An enum of C is an int, whatever type C++ gives it.
template <class A, class B>
constexpr bool have_same_sign =
    std::is_enum_v<A> || std::is_enum_v<B> || std::is_signed_v<A> == std::is_signed_v<B>;

template <class A, class B>
constexpr bool is_same_value()
{
    if constexpr (std::is_pointer_v<A> && std::is_pointer_v<B>) {
        using pointee_a = std::remove_cv_t<std::remove_pointer_t<A>>;
        using pointee_b = std::remove_cv_t<std::remove_pointer_t<B>>;
        if constexpr (std::is_void_v<pointee_a> || std::is_void_v<pointee_b>) return true;
        else return is_same_value<pointee_a, pointee_b>();
    } else if constexpr (is_number<A> && is_number<B>) {
        return sizeof(A) == sizeof(B) && have_same_sign<A, B>;
    } else {
        return std::is_same_v<A, B>;
    }
}

template <class A, class B>
struct functions;

template <class ResultA, class... A, class ResultB, class... B>
struct functions<ResultA (*)(A...), ResultB (*)(B...)> {
    static constexpr bool are_same()
    {
        if constexpr (sizeof...(A) != sizeof...(B)) return false;
        else return is_same_value<ResultA, ResultB>() && (is_same_value<A, B>() && ...);
    }
};

template <class A, class B>
constexpr bool is_same()
{
    return functions<A, B>::are_same();
}

} // namespace abi
