// What each bun:ffi type may be in a C prototype, as predicates for static_assert.
#pragma once

#include <cstddef>
#include <tuple>
#include <type_traits>

namespace ffi {

template <class T, std::size_t size>
constexpr bool is_signed_integer =
    std::is_integral_v<T> && std::is_signed_v<T> && sizeof(T) == size;

template <class T, std::size_t size>
constexpr bool is_unsigned_integer =
    std::is_integral_v<T> && std::is_unsigned_v<T> && sizeof(T) == size;

template <class T>
constexpr bool is_int_sized_enum = std::is_enum_v<T> && sizeof(T) == sizeof(int);

template <class T>
struct is_void : std::is_void<T> {};

template <class T>
struct is_i32 : std::bool_constant<is_signed_integer<T, 4> || is_int_sized_enum<T>> {};

template <class T>
struct is_u32 : std::bool_constant<is_unsigned_integer<T, 4>> {};

template <class T>
struct is_i64 : std::bool_constant<is_signed_integer<T, 8>> {};

template <class T>
struct is_u64 : std::bool_constant<is_unsigned_integer<T, 8>> {};

template <class T>
struct is_f64 : std::is_same<T, double> {};

template <class T>
struct is_pointer : std::is_pointer<T> {};

template <class T>
struct is_cstring : std::is_same<T, const char *> {};

template <class Function>
struct signature;

template <class Return, class... Arguments>
struct signature<Return (*)(Arguments...)> {
    using return_type = Return;
    using argument_types = std::tuple<Arguments...>;
    static constexpr std::size_t argument_count = sizeof...(Arguments);
};

template <class Function>
constexpr std::size_t argument_count = signature<Function>::argument_count;

template <template <class> class Predicate, class Function>
constexpr bool return_satisfies = Predicate<typename signature<Function>::return_type>::value;

// Also false when the function does not have that many arguments.
template <template <class> class Predicate, std::size_t index, class Function>
constexpr bool argument_satisfies()
{
    using arguments = typename signature<Function>::argument_types;
    if constexpr (index < std::tuple_size_v<arguments>)
        return Predicate<std::tuple_element_t<index, arguments>>::value;
    else return false;
}

} // namespace ffi
