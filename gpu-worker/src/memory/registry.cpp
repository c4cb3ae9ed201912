// libtorch registers its operators while the process starts: 3,561 of them with 16,173 kernels. It keeps for its error
// messages what it inferred of every kernel's signature and where that was registered, and it keeps kernels for tracing,
// functorch, quantized, sparse, nested and meta tensors, none of which ever run here. Without both, an idle process is a quarter
// smaller and every operator that is used here stays what it is; who asks for one of the others is told that it isn't
// there for that backend.
//
// These functions have the names of libtorch's own and stand before them, since symbols of a program come before those
// of its libraries. The first hands on to the one that it stands before.
#include <ATen/core/dispatch/Dispatcher.h>
#include <dlfcn.h>
#include <torch/csrc/jit/runtime/operator.h>

#include <atomic>

namespace {
// Constant-initialised: they count before this file's own initialisers run.
std::atomic<uint64_t> kept{0};
std::atomic<uint64_t> left_out{0};

constexpr auto kRegisterImpl =
    "_ZN3c1010Dispatcher12registerImplENS_12OperatorNameESt8optionalINS_11DispatchKeyEENS_14KernelFunctionES2_INS_4impl"
    "12CppSignatureEESt10unique_ptrINS_14FunctionSchemaESt14default_deleteISA_EENSt7__cxx1112basic_stringIcSt11char_"
    "traitsIcESaIcEEE";

bool never_runs_here(c10::DispatchKey key) {
  using Key = c10::DispatchKey;
  switch (c10::toFunctionalityKey(key)) {
    case Key::Quantized:
    case Key::Sparse:
    case Key::SparseCsr:
    case Key::NestedTensor:
    case Key::Functionalize:
    case Key::ZeroTensor:
    case Key::Tracer:
    case Key::FuncTorchBatched:
    case Key::BatchedNestedTensor:
    case Key::FuncTorchVmapMode:
    case Key::FuncTorchGradWrapper:
    case Key::Batched:
    case Key::VmapMode:
      return true;
    default:
      return key == Key::Meta;
  }
}
}  // namespace

namespace c10 {
RegistrationHandleRAII Dispatcher::registerImpl(
    OperatorName name, std::optional<DispatchKey> key, KernelFunction kernel, std::optional<impl::CppSignature> signature,
    std::unique_ptr<FunctionSchema> inferred, std::string) {
  if (key && never_runs_here(*key)) {
    left_out += 1;
    return RegistrationHandleRAII([] {});
  }
  kept += 1;
  // A member function takes its object as the first argument.
  using Register = RegistrationHandleRAII (*)(
      Dispatcher*, OperatorName, std::optional<DispatchKey>, KernelFunction, std::optional<impl::CppSignature>,
      std::unique_ptr<FunctionSchema>, std::string);
  static const auto next = reinterpret_cast<Register>(dlsym(RTLD_NEXT, kRegisterImpl));
  // Without the inferred signature it is not compared with the operator's own, which libtorch's tests have done.
  inferred.reset();
  return next(this, std::move(name), key, std::move(kernel), signature, nullptr, std::string());
}
}  // namespace c10

namespace torch::jit {
// The operators of TorchScript, which is never run.
void registerOperator(Operator&&) {}
}  // namespace torch::jit

// Kernels that libtorch registered through the function above, and those that were left out; both 0: it does not stand
// before libtorch's own.
extern "C" void shim_registrations(uint64_t* kept_out, uint64_t* left_out_out) {
  *kept_out = kept;
  *left_out_out = left_out;
}
