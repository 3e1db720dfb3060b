from mellea_api.runtime import MelleaRuntime

def main():
    # Runtime auto-configures from environment
    runtime = MelleaRuntime()
    print(f"Using backend: {runtime.backend}")
    print(f"Using model: {runtime.model_id}")
    response = runtime.chat("What is 2+2?")
    print(f"Response: {response}")

if __name__ == "__main__":
    main()
