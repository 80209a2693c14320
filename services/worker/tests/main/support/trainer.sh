#!/bin/sh
# A trainer that trains nothing: it acts as the dataset in its order is called.

if [ "$1" = --describe ]; then
    echo '{}'
    exit
fi

checkpoint='{"type":"checkpoint","attempt":1,"epoch":2,"step":8,"key":"k","sha256":"s","bytes":1}'
finished='{"type":"finished","model":{"model_digest":"d","model_json":"{}","error_rates":[0.5],"confusion":[[1]],"errors":0,"validated":1,"trained":3,"findings":[]}}'
evaluated='{"type":"finished","evaluation":{"predictions":{"key":"k","sha256":"s","bytes":9},"evaluation":{"loss":0.25,"classes":[{"class":"black","wrong":1,"of":4}]}}}'
explained='{"type":"finished","explanations":[{"id":"00000000-0000-0000-0000-000000000007","class":"teddy","probability":0.25,"predicted":"black","side":1,"values":[0.5],"overlay":{"key":"k","sha256":"s","bytes":9}}]}'
cancelled='{"type":"failed","class":"cancelled","message":"told to stop"}'

read -r order
echo '{"type":"log","level":"info","message":"sees '"$CUDA_VISIBLE_DEVICES of $CUDA_DEVICE_ORDER"'"}'
case $order in
*'"type":"evaluate"'*'"dataset":"quick"'*'"model_digest":"9f2c"'*) echo "$evaluated" ;;
*'"type":"explain"'*'"shard":"quick"'*'"class":"teddy"'*) echo "$explained" ;;
*'"dataset":"quick"'*) echo "$finished" ;;
# Says everything that a run can say, in one breath.
*'"dataset":"talkative"'*)
    echo '{"type":"metric","name":"train_loss","step":8,"epoch":1,"value":0.5}'
    echo '{"type":"log","level":"info","message":"learned"}'
    echo "$checkpoint"
    echo "$finished"
    ;;
# Has a checkpoint on its way to the store when it is told to stop.
*'"dataset":"obedient"'*) read -r _ && echo "$checkpoint" && echo "$cancelled" && exit 1 ;;
# Is done when it is told to stop.
*'"dataset":"done"'*) read -r _ && echo "$finished" ;;
*'"dataset":"deaf"'*) exec sleep 600 ;;
# As deaf, with a child, and one whose parent has gone, and none of them ends for less than it must.
*'"dataset":"family"'*)
    trap '' HUP INT TERM
    sleep 600 &
    child=$!
    orphan=$(sleep 600 >/dev/null & echo $!)
    echo '{"type":"log","level":"info","message":"family '"$$ $child $orphan"'"}'
    exec sleep 600
    ;;
esac
