# As hai-platform's documentation has it: rank 0 asks after every step, saves, keeps the step as the state, and gives the
# machine back.
import json, os, sys, time
import hfai.client

path, total = sys.argv[1], int(sys.argv[2])
step = hfai.client.get_whole_life_state()
print("begins at step", step, "as", os.environ["MARSV2_NB_NAME"], flush=True)
weights = json.load(open(path)) if step else []
while step < total:
    weights.append(step * step)
    step += 1
    if os.path.exists(path + ".slow"):
        time.sleep(0.01)
    if int(os.environ["RANK"]) == 0 and hfai.client.receive_suspend_command():
        json.dump(weights, open(path + ".new", "w"))
        os.replace(path + ".new", path)
        hfai.client.set_whole_life_state(step)
        print("gives way at step", step, flush=True)
        hfai.client.go_suspend()
        print("never", flush=True)
print("sum", sum(weights), flush=True)
